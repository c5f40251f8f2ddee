"""Who receives webhooks in tests: checks signatures as standardwebhooks.com says, with code of its own."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

import psycopg

from tests.site import Request, Site


def allow_loopback(connection: psycopg.Connection[Any]) -> None:
    """Lets webhooks reach this machine."""
    connection.execute("INSERT INTO pgtask.webhook_networks VALUES ('127.0.0.0/8'), ('::1')")


def verified(request: Request, secret: str) -> dict[str, Any]:
    """The content of a message; fails unless this secret signed it."""
    key = base64.b64decode(secret.split("_", 1)[1])
    signed = f"{request.headers['webhook-id']}.{request.headers['webhook-timestamp']}.".encode() + request.body
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert f"v1,{expected}" in request.headers["webhook-signature"].split()
    content: dict[str, Any] = json.loads(request.body)
    return content


def jobs_told(site: Site) -> list[int]:
    """The jobs that messages were about, in order."""
    return [json.loads(request.body)["data"]["id"] for request in site.requests]
