"""What a task and its options say about unique jobs, brought together for one job."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from pgtask.model.signature import Signature
from pgtask.model.unique import Unique


def declared(unique: Unique | None, signature: Signature) -> dict[str, Any]:
    """The fields of NewJob for what a task declares. Raises ValueError."""
    if unique is None:
        return {}
    checked = unique.checked()
    schema = signature.schema
    for path in () if isinstance(checked.by, bool) else checked.by or ():
        name = path.partition(".")[0]
        if not schema["additionalProperties"] and name not in schema["properties"]:
            # It would be missing from every payload, so that all jobs had the same key.
            raise ValueError(f"unique jobs go by {path!r}, but the task takes no {name!r}")
    return checked.fields()


def chosen(
    unique: Unique | None,
    signature: Signature,
    *,
    unique_key: str | None,
    unique_by: Any,
    unique_scope: Any,
    unique_window: float | str | timedelta | None,
    on_conflict: Any,
    max_wait: float | str | timedelta | None,
) -> dict[str, Any]:
    """The fields of NewJob for the options of one job, each in place of what its task declares. Raises ValueError.

    A key takes the place of paths, and paths that of a key; `unique_by` False makes the job not unique at all.
    """
    given = (unique_key, unique_by, unique_scope, unique_window, on_conflict, max_wait)
    if all(value is None for value in given):
        return declared(unique, signature)
    if unique_by is False:
        if any(value not in (None, False) for value in given):
            raise ValueError("unique_by=False makes a job not unique: give none of the other options for unique jobs")
        return {}
    if unique_key is not None and unique_by is not None:
        raise ValueError("give unique_key or unique_by, not both")
    own = unique or Unique()
    if unique_key is not None or unique_by is not None:
        own = replace(own, key=unique_key, by=unique_by)
    if on_conflict not in (None, own.on_conflict):
        own = replace(own, on_conflict=on_conflict, max_wait=None)
    changes = {"scope": unique_scope, "window": unique_window, "max_wait": max_wait}
    return declared(replace(own, **{name: value for name, value in changes.items() if value is not None}), signature)
