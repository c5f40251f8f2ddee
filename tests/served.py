"""The API served over HTTP in a thread, and the command line beside it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from click.testing import CliRunner, Result
from werkzeug.serving import WSGIRequestHandler, make_server

from pgtask.cli.main import main
from tests.api_client import Api, made_api


class _Quiet(WSGIRequestHandler):
    """Writes no line for each request: it would end up in what commands say."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        pass


@dataclass(frozen=True, slots=True)
class Served:
    """Where the API is served, of which database, and the token that may do everything."""

    api: Api
    url: str

    @property
    def token(self) -> str:
        """May do everything."""
        assert self.api.token is not None
        return self.api.token

    def run(self, *arguments: str, token: str | None = None) -> Result:
        """Runs a command over REST, where there is no database."""
        variables = {"PGTASK_DATABASE_URL": None, "PGTASK_TOKEN": token or self.token}
        return CliRunner(env=variables).invoke(main, ["--url", self.url, *arguments])


@contextmanager
def served(database: str) -> Iterator[Served]:
    """Serves the API of a database on loopback."""
    api = made_api(database)
    server = make_server("127.0.0.1", 0, api.app, threaded=True, request_handler=_Quiet)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield Served(api, f"http://127.0.0.1:{server.server_port}")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        api.app.extensions["pgtask"].close()
