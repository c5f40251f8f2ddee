"""gunicorn around the application: `pgtask server`."""

from __future__ import annotations

import json
import logging
import os
import shutil
import socket
import tempfile
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from gunicorn import util  # type: ignore[import-untyped, unused-ignore]
from gunicorn.app.base import BaseApplication  # type: ignore[import-untyped, unused-ignore]
from gunicorn.arbiter import Arbiter  # type: ignore[import-untyped, unused-ignore]
from gunicorn.glogging import Logger  # type: ignore[import-untyped, unused-ignore]
from gunicorn.http import errors  # type: ignore[import-untyped, unused-ignore]
from gunicorn.workers.gthread import ThreadWorker  # type: ignore[import-untyped, unused-ignore]

from pgtask.config import Settings
from pgtask.engine.errands import Errands
from pgtask.model.wording import plural

from .listening import url_of
from .problems import MEDIA_TYPE, kind_of, title_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment
    from flask import Flask

log = logging.getLogger("pgtask.server")

SLOWNESS = 30.0
"""Seconds that a client may take to send or to take the next bytes of one request."""

_KEEPALIVE = 30
_STATUSES = {
    errors.LimitRequestLine: 414,
    errors.LimitRequestHeaders: 431,
    errors.UnsupportedTransferCoding: 501,
    errors.ExpectationFailed: 417,
}


def serve(settings: Settings, url: str, listener: socket.socket) -> int:
    """Serves the API of the database at `url` at a socket until TERM or INT; returns the exit code.

    Processes are forked from this one, which must have no threads. HUP replaces them with new ones.
    """
    pid = os.getpid()
    # Where the processes share what they count; prometheus-client asks the environment when it is imported.
    shared = tempfile.mkdtemp(prefix="pgtask-metrics-")
    os.environ |= {"PROMETHEUS_MULTIPROC_DIR": shared, "PGTASK_SERVER_STARTED_AT": repr(time.time())}
    try:
        Arbiter(_Server(settings, url, listener)).run()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
        if os.getpid() != pid:
            # A process that was forked must not tidy up what belongs to its parent.
            os._exit(code & 0xFF)
        return code
    finally:
        shutil.rmtree(shared, ignore_errors=True)
    return 0


class _Server(BaseApplication):  # type: ignore[misc, unused-ignore]
    """The application as gunicorn wants to have it: with settings, and made in each process."""

    def __init__(self, settings: Settings, url: str, listener: socket.socket) -> None:
        self._settings = settings
        self._url = url
        self._place = url_of(listener)
        # gunicorn closes it when it takes no more requests, so nobody else must hold it.
        self._fd = listener.detach()
        # gunicorn would answer 500 to what is outside the prefix.
        self._prefix = os.environ.pop("SCRIPT_NAME", "")
        self._app: Flask | None = None
        super().__init__()

    def load_config(self) -> None:
        """Settings of gunicorn, none of which come from files or variables of its own."""
        given = self._settings
        for name, value in {
            "bind": f"fd://{self._fd}",
            "proc_name": "pgtask server",
            "workers": given.server_processes,
            "threads": given.server_threads,
            "worker_class": _Worker,
            "logger_class": _Log,
            "graceful_timeout": max(1, round(given.grace)),
            "keepalive": _KEEPALIVE,
            "limit_request_line": 8190,
            "control_socket_disable": True,
            "forwarded_allow_ips": ",".join(given.trusted_proxies or ()),
            # Only the headers that proxies.py reads.
            "forwarder_headers": "",
            "when_ready": self._ready,
            "worker_exit": self._end,
        }.items():
            self.cfg.set(name, value)

    def load(self) -> WSGIApplication:
        """The application of one process."""
        from .app import create_app

        self._app = create_app(self._settings, url=self._url, prefix=self._prefix)
        self._errands = Errands(self._url, "pgtask server errands", pooled=self._settings.pooled)
        self._errands.allow(True)
        self._errands.start()
        return _patient(self._app)

    def stop(self) -> None:
        """Has answers that wait for something sent now, as this process is about to end."""
        if self._app is not None:
            for name in ("pgtask.counter", "pgtask.waiters", "pgtask.broadcaster"):
                self._app.extensions[name].dismiss()

    def _ready(self, _arbiter: Arbiter) -> None:
        given = self._settings
        place, count, threads = self._place, given.server_processes, plural(given.server_threads, "thread")
        log.info("listening at %s, %d process%s of %s", place, count, "" if count == 1 else "es", threads)

    def _end(self, _arbiter: Arbiter, _worker: ThreadWorker) -> None:
        if self._app is not None:
            self._errands.stop()
            self._app.extensions["pgtask.counter"].close()
            self._app.extensions["pgtask"].close()


class _Worker(ThreadWorker):  # type: ignore[misc, unused-ignore]
    """A process of the server; answers what is no HTTP as all other problems are answered."""

    def handle_exit(self, sig: int, frame: Any) -> None:
        """TERM: ends when the requests at hand are answered."""
        self.app.stop()
        super().handle_exit(sig, frame)

    def handle_error(self, req: Any, client: socket.socket, addr: Any, exc: BaseException) -> None:
        """Answers what cannot be read, 400 unless something else fits better."""
        if not isinstance(exc, errors.ParseException | errors.InvalidChunkSize) or isinstance(
            exc, errors.InvalidResponseHeader | errors.InvalidResponseHeaderName
        ):
            super().handle_error(req, client, addr, exc)
            return
        status = HTTPStatus(next((code for kind, code in _STATUSES.items() if isinstance(exc, kind)), 400))
        log.info("refused what is no request: %s", type(exc).__name__, extra={"status": status.value})
        kind = kind_of(status)
        content = {
            "type": f"/problems/{kind}",
            "title": title_of(kind),
            "status": status.value,
            "detail": f"This is no request that the server reads ({type(exc).__name__}).",
            "request_id": "",
        }
        body = json.dumps(content)
        util.write_nonblock(
            client,
            (
                f"HTTP/1.1 {status.value} {status.phrase}\r\nConnection: close\r\nContent-Type: {MEDIA_TYPE}\r\n"
                f"Content-Length: {len(body)}\r\nX-Content-Type-Options: nosniff\r\n\r\n{body}"
            ).encode(),
        )


class _Log(Logger):  # type: ignore[misc, unused-ignore]
    """gunicorn's own words in pgtask's log: what goes wrong as it is, the rest for those who debug."""

    def setup(self, cfg: Any) -> None:
        """Leaves format and destination to pgtask. The application writes the lines of requests itself."""
        self.cfg = cfg
        self.error_log = log
        self._access_log_enabled = False

    def info(self, msg: str, *args: Any, **kwargs: Any) -> None:
        """What is only of interest when something is searched for."""
        log.debug(msg, *args, **kwargs)

    def debug(self, msg: str, *args: Any, **kwargs: Any) -> None:
        """Nothing: it is about gunicorn's insides."""


def _patient(app: WSGIApplication) -> WSGIApplication:
    """The application, with an end to the patience with clients that send nothing or take nothing."""

    def run(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        connection = environ.get("gunicorn.socket")
        if connection is not None:
            connection.settimeout(SLOWNESS)
        return app(environ, start_response)

    return run
