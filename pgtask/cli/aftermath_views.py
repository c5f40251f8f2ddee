"""What a job has to do with dead letter queues, and who has dealt with it."""

from __future__ import annotations

from typing import Any

from pgtask.cli.output import on_terminal
from pgtask.cli.text import error_text, instant, with_relative
from pgtask.model.dead_letter import Aftermath
from pgtask.model.listing import JobDetails
from pgtask.model.wording import DASH


def aftermath_fields(details: JobDetails) -> list[tuple[str, str]]:
    """The job that it is a copy of, its own copy, and its resolution, as far as there are any."""
    copied = _copied(details.job.dead_letter)
    return ([("Copy of", copied)] if copied else []) + _ended(details.aftermath)


def _copied(dead_letter: Any) -> str:
    # Whoever may insert jobs with all their columns may have written it.
    if not isinstance(dead_letter, dict):
        return ""
    error = error_text(*(_text(dead_letter.get(name)) for name in ("error_type", "error")))
    which = f"job {dead_letter.get('job_id')} of queue {dead_letter.get('queue')}"
    ended = "was quarantined" if dead_letter.get("status") == "quarantined" else "failed"
    return f"{which}, which {ended}: {error}" if error else f"{which}, which {ended}"


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _ended(aftermath: Aftermath | None) -> list[tuple[str, str]]:
    if aftermath is None:
        return []
    fields = [] if aftermath.copy_id is None else [("Copied to", f"job {aftermath.copy_id}")]
    if aftermath.resolved_at is not None:
        shown = with_relative if on_terminal() else instant
        fields.append(("Resolved at", shown(aftermath.resolved_at)))
        fields.append(("Resolved by", aftermath.resolved_by or DASH))
        fields += [("Note", aftermath.note)] if aftermath.note else []
    return fields
