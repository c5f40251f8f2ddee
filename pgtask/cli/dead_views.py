"""How dead letters look, one by one and in groups."""

from __future__ import annotations

from pgtask.cli.job_views import remark
from pgtask.cli.output import STATUS_STYLES, Column
from pgtask.cli.text import clean, instant, relative
from pgtask.model.dead_letter import DeadLetterGroup
from pgtask.model.job import JobRecord
from pgtask.model.wording import DASH

DEAD_COLUMNS: tuple[Column[JobRecord], ...] = (
    Column(title="ID", show=lambda job: str(job.id), right=True),
    Column(
        title="STATUS",
        show=lambda job: job.status,
        style=lambda job: STATUS_STYLES.get(job.status, ""),
    ),
    Column(title="TASK", show=lambda job: job.task, shrinks=True),
    Column(title="QUEUE", show=lambda job: job.queue, shrinks=True),
    Column(title="TRIES", show=lambda job: str(job.attempt or DASH), plain=lambda job: job.attempt, right=True),
    Column(title="FAILED", show=lambda job: relative(job.finished_at), plain=lambda job: instant(job.finished_at)),
    Column(title="ERROR", show=remark, style=lambda job: "red", shrinks=True),  # noqa: ARG005
    Column(title="TAGS", show=lambda job: ",".join(job.tags or ()), shrinks=True, wide=True),
)

GROUP_COLUMNS: tuple[Column[DeadLetterGroup], ...] = (
    Column(title="COUNT", show=lambda group: f"{group.count:,}", plain=lambda group: group.count, right=True),
    Column(title="TASK", show=lambda group: group.task, shrinks=True),
    Column(
        title="ERROR",
        show=lambda group: clean(group.error_type or DASH),
        plain=lambda group: group.error_type,
        style=lambda group: "red",  # noqa: ARG005
        shrinks=True,
    ),
    Column(title="FIRST", show=lambda group: relative(group.first_at), plain=lambda group: instant(group.first_at)),
    Column(title="LAST", show=lambda group: relative(group.last_at), plain=lambda group: instant(group.last_at)),
    Column(title="LAST ID", show=lambda group: str(group.last_id), right=True),
)
