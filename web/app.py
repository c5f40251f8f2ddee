"""The Flask application."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

from flask import Flask, Response, current_app, request

from pgtask.config import Settings, load_settings
from pgtask.database.pool import Pool
from pgtask.model.errors import ConfigurationError
from pgtask.model.token import Scope

from . import api, requests, serving
from .auth.bearer import Bearers
from .contract import Operation
from .dispatch import Dispatcher
from .document import BASE, document
from .paths import Name, Number, SlashesInNames
from .problems import Problem, problem_of
from .shapes import ProblemShape

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

log = logging.getLogger("pgtask.web")

DATABASE_PATIENCE = 3.0
"""Seconds that a request waits for a connection before it is told to come back."""


def create_app(settings: Settings | None = None, *, url: str | None = None) -> Flask:
    """The API as a WSGI application, for gunicorn (`pgtask server`) or any other server.

    `url` is the database's, for an embedded server that the caller holds. Raises ConfigurationError without a database.
    """
    given = settings or load_settings()
    place = url or given.database_url
    if place is None:
        raise ConfigurationError("The server needs a database: set PGTASK_DATABASE_URL.")
    pool = Pool(
        place,
        pooled=given.pooled,
        name="pgtask server",
        max_size=given.server_connections,
        patience=DATABASE_PATIENCE,
    )
    app = Flask("pgtask.web", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = given.max_body
    app.extensions["pgtask"] = pool
    app.extensions[serving.NAME] = serving.new_counter(given, place)
    app.url_map.converters |= {"name": Name, "number": Number}
    app.url_map.strict_slashes = False
    wsgi: WSGIApplication = app.wsgi_app
    app.wsgi_app = SlashesInNames(wsgi)  # type: ignore[method-assign]
    _Frame(app, Bearers(pool))
    dispatcher = Dispatcher(pool)
    for section in api.SECTIONS:
        for operation in section.operations:
            _route(app, dispatcher, operation)
    text = json.dumps(document(api.SECTIONS, ProblemShape), ensure_ascii=False)
    app.add_url_rule(
        f"{BASE}/openapi.json", "openapi", lambda: Response(text, content_type="application/json"), methods=["GET"]
    )
    app.config["PGTASK_OPEN"] = frozenset({"openapi"})
    return app


def _route(app: Flask, dispatcher: Dispatcher, operation: Operation) -> None:
    path = operation.path
    for name, kind in operation.path_parameters.items():
        path = path.replace(f"{{{name}}}", f"<{'number' if kind is int else 'name'}:{name}>")
    endpoint = f"{operation.method} {operation.path}"
    app.add_url_rule(f"{BASE}{path}", endpoint, dispatcher.view(operation), methods=[operation.method])
    app.config.setdefault("PGTASK_SCOPES", {})[endpoint] = operation.scope


class _Frame:
    """What happens around every request: its number, who asks, and errors as problems."""

    def __init__(self, app: Flask, bearers: Bearers) -> None:
        self._bearers = bearers
        app.before_request(self._admit)
        app.after_request(self._finish)
        app.register_error_handler(Exception, self._fail)

    def _admit(self) -> None:
        """Lets a request in, before anything of its body is read. What names no scope is closed."""
        record = requests.begin()
        endpoint = request.endpoint
        if endpoint is None or endpoint in current_app.config["PGTASK_OPEN"]:
            return
        scopes: dict[str, Scope | None] = current_app.config["PGTASK_SCOPES"]
        scope = scopes.get(endpoint, Scope.ADMIN)
        if scope is None:
            return
        record.principal = self._bearers.principal()
        if not record.principal.may(scope):
            raise Problem(403, "missing-scope", f"This needs a token with the scope {scope}.", {"scope": str(scope)})

    def _finish(self, response: Response) -> Response:
        headers = response.headers
        headers["X-Request-Id"] = requests.asked().request_id
        headers.setdefault("Cache-Control", "no-store")
        headers["X-Content-Type-Options"] = "nosniff"
        return response

    def _fail(self, error: Exception) -> Response:
        request_id = requests.asked().request_id
        problem = problem_of(error)
        if problem is None:
            log.error("%s %s failed (request %s)", request.method, request.path, request_id, exc_info=error)
            problem = Problem(500, "internal-error", f"The server is at fault. Its log names request {request_id}.")
        return problem.response(request_id)
