"""What a request carries, read strictly: unknown names and values of the wrong kind are refused."""

from __future__ import annotations

from typing import Any

from flask import request
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from werkzeug.exceptions import HTTPException

from .problems import Problem, pointer_to

JSON = "application/json"
_NOTHING = frozenset({b"", b"{}", b"null"})


class Body(BaseModel):
    """A JSON object in a request. Its fields are described by the docstrings below them."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True)


class Query(BaseModel):
    """The query of a request."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)


def read_query(model: type[BaseModel]) -> BaseModel:
    """The query as its model. Raises ValidationError, Problem 422 for a name that comes twice."""
    values: dict[str, str] = {}
    for name, given in request.args.lists():
        if len(given) > 1:
            raise refused(name, "give it once; several values are separated by commas")
        values[name] = given[0]
    return model.model_validate_strings(values)


def refused(parameter: str, reason: str) -> Problem:
    """What is wrong with a parameter of the query."""
    pointer = pointer_to(parameter)
    errors = [{"pointer": pointer, "detail": f"{reason[0].upper()}{reason[1:]}"}]
    return Problem(422, "invalid-request", f"{pointer}: {reason}.", {"errors": errors})


def read_body(adapter: TypeAdapter[Any]) -> Any:
    """The JSON body as its model. Raises ValidationError, Problem 400 and 415 for what is no JSON."""
    if request.mimetype != JSON:
        raise Problem(415, "unsupported-media-type", f"Send JSON, with Content-Type: {JSON}.")
    data = body_bytes()
    try:
        return adapter.validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        if first["type"] == "json_invalid":
            reason = first.get("ctx", {}).get("error", first["msg"])
            if "hex escape" in reason:
                raise Problem(422, "invalid-request", f"A text in the body is no Unicode: {reason}.") from None
            raise Problem(400, "invalid-json", f"The body is no JSON: {reason}.") from None
        raise


def require_no_body() -> None:
    """Raises Problem 422 for a body that says something where nothing is read; an empty object says nothing."""
    if body_bytes().strip() not in _NOTHING:
        raise Problem(
            422, "invalid-request", "This takes no body.", {"errors": [{"pointer": "", "detail": "Not taken"}]}
        )


def body_bytes() -> bytes:
    """The bytes of the body. Raises Problem 400 and 408 for one that does not come as it was announced."""
    try:
        data = request.get_data(cache=True)
    except HTTPException:
        raise
    except TimeoutError:
        raise _cut(408, "request-timeout", "The body did not come in time.") from None
    except Exception as error:  # noqa: BLE001 - each server has errors of its own for chunks that are none
        raise _cut(400, "unreadable-body", f"The body is not what its headers say ({type(error).__name__}).") from None

    if request.content_length is None and len(data) >= (request.max_content_length or len(data) + 1):
        # Of a body without a length werkzeug reads as much as is allowed, and says nothing of the rest.
        raise _cut(413, "content-too-large", f"The body has more than {request.max_content_length} bytes.")
    return data


def _cut(status: int, kind: str, detail: str) -> Problem:
    # Where the next request would begin nobody knows.
    return Problem(status, kind, detail, headers={"Connection": "close"})
