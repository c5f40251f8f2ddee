"""ETag, If-Match and If-None-Match: a tag stands for what a GET of the thing answers."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from flask import Response, request

from .problems import Problem


def etag_of(content: Any) -> str:
    """The tag of a JSON document."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    return f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'


def not_modified(response: Response) -> Response:
    """The response, without its content where the caller has it already."""
    tag = response.headers["ETag"]
    given = request.if_none_match
    if given and (given.star_tag or given.contains_weak(tag.strip('"'))):
        return Response(status=304, headers={"ETag": tag})
    return response


def require_match(current: Any) -> None:
    """Raises Problem 412 where the caller changes what is no longer as it was when they read it.

    `current` is what a GET would answer; lock what it stands for first. Without If-Match all is well.
    """
    given = request.if_match
    if "If-Match" not in request.headers or given.star_tag or etag_of(current).strip('"') in given:
        return
    raise Problem(412, "changed-meanwhile", "It was changed since you read it. Read it again, then repeat your change.")
