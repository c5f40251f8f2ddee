"""Pages of other origins: off unless their origins are listed. Cookies are never allowed, the API takes none."""

from __future__ import annotations

from collections.abc import Collection

from flask import Response, request

METHODS = "GET, POST, PUT, PATCH, DELETE"
HEADERS = "Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, Last-Event-ID, X-Request-Id"
SHOWN = "ETag, Link, Location, Retry-After, RateLimit, RateLimit-Policy, X-Request-Id, Idempotency-Replayed"
_REMEMBERED = "600"


def preflight(origins: Collection[str]) -> Response | None:
    """The answer to a browser that asks whether it may ask; None for any other request."""
    wanted = request.headers.get("Access-Control-Request-Method")
    if request.method != "OPTIONS" or wanted is None or request.headers.get("Origin") not in origins:
        return None
    headers = {
        "Access-Control-Allow-Methods": METHODS,
        "Access-Control-Allow-Headers": HEADERS,
        "Access-Control-Max-Age": _REMEMBERED,
    }
    return Response(status=204, headers=headers)


def admit(response: Response, origins: Collection[str]) -> None:
    """Lets pages of listed origins read an answer."""
    if not origins:
        return
    response.headers.add("Vary", "Origin")
    origin = request.headers.get("Origin")
    if origin in origins:
        response.headers["Access-Control-Allow-Origin"] = str(origin)
        response.headers["Access-Control-Expose-Headers"] = SHOWN
