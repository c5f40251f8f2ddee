# An image with pgtask installed, for workers and commands. An application's own image goes on from it:
#   FROM pgtask
#   COPY shop.py .
#   ENV PGTASK_APP=shop
ARG PYTHON=3.13

FROM python:${PYTHON}-slim AS build
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY pgtask/ pgtask/
COPY web/ web/
COPY migrations/ migrations/
RUN pip wheel --no-cache-dir --wheel-dir /wheels .
# Into a folder of its own, without pip: what builds and installs stays behind in this stage.
RUN python -m venv --without-pip /opt/pgtask \
    && pip --python /opt/pgtask/bin/python install --no-cache-dir --no-index --find-links /wheels /wheels/pgtask-*.whl

FROM python:${PYTHON}-slim
RUN groupadd --system --gid 10001 pgtask \
    && useradd --system --uid 10001 --gid pgtask --home-dir /app --shell /usr/sbin/nologin pgtask
COPY --from=build /opt/pgtask /opt/pgtask
ENV PATH=/opt/pgtask/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
# Applications are looked for in the working directory.
WORKDIR /app
# By number, so that Kubernetes can tell that it is not root.
USER 10001:10001
# The first TERM lets running jobs end within the grace period. There is no health check: a worker that cannot work exits,
# and one that hangs loses its lease to the others.
STOPSIGNAL SIGTERM
ENTRYPOINT ["pgtask"]
CMD ["worker"]
