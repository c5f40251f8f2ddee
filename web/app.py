"""The Flask application."""

from __future__ import annotations

import logging
import time
from functools import cache
from typing import TYPE_CHECKING, Any

from flask import Flask, Response, current_app, request
from werkzeug.exceptions import MethodNotAllowed

from pgtask.config import Settings, load_settings
from pgtask.database.connection import STATEMENT_TIMEOUT
from pgtask.database.pool import Pool
from pgtask.model.errors import ConfigurationError
from pgtask.model.token import Scope

from . import access, api, cors, docs, rates, requests, serving
from .auth.bearer import Bearers
from .broadcaster import Broadcaster
from .contract import AnyToken, Operation, Rights
from .dispatch import Dispatcher
from .document import BASE, document
from .paths import Name, Number, SlashesInNames, words_beside
from .probes import Probes
from .problems import Problem, problem_of
from .proxies import Proxied
from .shapes import ProblemShape
from .waiting import Waiters

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

log = logging.getLogger("pgtask.web")

# An answer of the API is no page: it may load, run and frame nothing, and nobody may frame it.
_CLOSED = "default-src 'none'; frame-ancestors 'none'"

DATABASE_PATIENCE = 3.0
"""Seconds that a request waits for a connection, or for what others have locked, before it is told to come back."""

# Workers that share a token are not to lose their leases, and so their jobs, for asking too often.
_UNCOUNTED = frozenset({"POST /workers/heartbeat"})

# Or whatever holds a lock for long would in time hold every connection and every thread.
_LIMITS = {
    "lock_timeout": f"{DATABASE_PATIENCE * 1000:.0f}",
    "statement_timeout": f"{STATEMENT_TIMEOUT * 1000:.0f}",
}


def create_app(settings: Settings | None = None, *, url: str | None = None, prefix: str = "") -> Flask:
    """The API as a WSGI application, for gunicorn (`pgtask server`) or any other server.

    `url` is the database's, for an embedded server that the caller holds; `prefix` the path below which the server is
    shown, where no proxy says it. Raises ConfigurationError without a database.
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
        settings=_LIMITS,
    )
    app = Flask("pgtask.web", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = given.max_body
    app.config["PGTASK_OPEN"] = frozenset(docs.ENDPOINTS)
    app.extensions["pgtask"] = pool
    app.extensions["pgtask.waiters"] = Waiters(pool, max(1, given.server_threads // 4))
    app.extensions["pgtask.broadcaster"] = Broadcaster(pool, max(1, given.server_threads // 4))
    app.extensions[serving.NAME] = serving.new_counter(given, place)
    app.url_map.converters |= {"name": Name, "number": Number}
    app.url_map.strict_slashes = False
    # Or what is no path would be answered with a redirect.
    app.url_map.merge_slashes = False
    wsgi: WSGIApplication = app.wsgi_app
    app.wsgi_app = Proxied(SlashesInNames(wsgi), given.trusted_proxies or (), prefix)  # type: ignore[method-assign]
    dispatcher = Dispatcher(pool)
    operations = [operation for section in api.SECTIONS for operation in section.operations]
    for operation in operations:
        _route(app, dispatcher, operation, [other.path for other in operations])
    docs.add_pages(app, _document())
    _Frame(app, given, pool, Probes(app, pool, open_metrics=given.open_metrics))
    return app


@cache
def _document() -> dict[str, Any]:
    return document(api.SECTIONS, ProblemShape)


def _route(app: Flask, dispatcher: Dispatcher, operation: Operation, paths: list[str]) -> None:
    path = operation.path
    for name, kind in operation.path_parameters.items():
        converter = "number" if kind is int else "name" + _but_for(words_beside(operation.path, name, paths))
        path = path.replace(f"{{{name}}}", f"<{converter}:{name}>")
    endpoint = f"{operation.method} {operation.path}"
    app.add_url_rule(f"{BASE}{path}", endpoint, dispatcher.view(operation), methods=[operation.method])
    app.config.setdefault("PGTASK_SCOPES", {})[endpoint] = operation.scope


def _but_for(words: list[str]) -> str:
    return f"({', '.join(repr(word) for word in words)})" if words else ""


class _Frame:
    """What happens around every request: its number, who asks, how often, and errors as problems."""

    def __init__(self, app: Flask, settings: Settings, pool: Pool, probes: Probes) -> None:
        self._probes = probes
        self._bearers = Bearers(pool)
        self._rates = rates.Rates(pool)
        self._rate = settings.request_rate
        self._failure_rate = settings.failure_rate
        self._origins = frozenset(settings.cors_origins or ())
        self._open: frozenset[str] = app.config["PGTASK_OPEN"]
        self._scopes: dict[str, Rights] = app.config["PGTASK_SCOPES"]
        app.before_request(self._admit)
        app.after_request(self._finish)
        app.register_error_handler(Exception, self._fail)

    def _admit(self) -> Response | None:
        """Lets a request in, before anything of its body is read. What names no scope is closed."""
        record = requests.begin()
        endpoint = request.endpoint
        if endpoint is None:
            return None
        if request.method == "OPTIONS":
            # Flask would answer it for every path; only browsers with leave from here have a use for it.
            answer = cors.preflight(self._origins)
            if answer is None and request.url_rule is not None:
                places = current_app.create_url_adapter(request)
                raise MethodNotAllowed(sorted(set(places.allowed_methods() if places else ()) - {"OPTIONS"}))
            return answer
        if endpoint in self._open:
            return None
        scope = self._scopes.get(endpoint, Scope.ADMIN)
        if scope is None:
            return None
        try:
            record.principal = self._bearers.principal()
        except Problem:
            self._count_failure()
            raise
        if endpoint not in _UNCOUNTED:
            self._count(record)
        if scope is not AnyToken.ANY and not record.principal.may(Scope(scope)):
            raise Problem(403, "missing-scope", f"This needs a token with the scope {scope}.", {"scope": str(scope)})
        return None

    def _count(self, record: requests.Asked) -> None:
        who = record.caller
        record.standing = self._rates.take(f"token {who.name}", who.rate_limit or self._rate)
        if not record.standing.allowed:
            raise rates.too_many(record.standing, "This token has used up its rate of requests.")

    def _count_failure(self) -> None:
        rate = self._failure_rate
        place = rates.address_key(request.remote_addr)
        standing = self._rates.take(place, rate, rate * rates.FAILURE_SECONDS)
        if not standing.allowed:
            raise rates.too_many(standing, "Too many requests without a valid token came from this address.")

    def _finish(self, response: Response) -> Response:
        record, headers = requests.asked(), response.headers
        self._probes.observe(response.status_code, time.monotonic() - record.begun)
        headers["X-Request-Id"] = record.request_id
        headers.setdefault("Cache-Control", "no-store")
        headers["X-Content-Type-Options"] = "nosniff"
        headers.setdefault("Content-Security-Policy", _CLOSED)
        headers.setdefault("Referrer-Policy", "no-referrer")
        headers.setdefault("X-Frame-Options", "DENY")
        headers["Cross-Origin-Resource-Policy"] = "cross-origin" if self._origins else "same-origin"
        if record.standing is not None:
            headers.extend({name: text for name, text in record.standing.headers().items() if name not in headers})
        if request.script_root and headers.get("Location", "").startswith("/"):
            headers["Location"] = request.script_root + headers["Location"]
        response.autocorrect_location_header = False
        cors.admit(response, self._origins)
        access.record(record, response)
        return response

    def _fail(self, error: Exception) -> Response:
        request_id = requests.asked().request_id
        problem = problem_of(error)
        if problem is None:
            log.error("%s %s failed (request %s)", request.method, request.path, request_id, exc_info=error)
            problem = Problem(500, "internal-error", f"The server is at fault. Its log names request {request_id}.")
        return problem.response(request_id, request.script_root)
