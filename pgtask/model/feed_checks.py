"""Whether events get to those who wait for them, as rules."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from pgtask.model.diagnosis import Check, ok, warning
from pgtask.model.wording import duration

HELD, BEHIND = 60.0, 3600.0
"""Seconds from which on a transaction holds the feed back for long, and a consumer is far behind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedFact:
    """Something that bears on the feed.

    A `transaction` that writes or one that is `prepared`; a `consumer`, or one that is `interrupted` as it has lost
    events; a `webhook`, or one that is `paused` because it failed.
    """

    kind: str
    name: str
    age: float | None
    """Seconds since it began, or since the next event that was not taken; None where there is none."""


def check_feed(facts: Collection[FeedFact]) -> Iterator[Check]:
    """What holds the feed back, and who is behind."""
    late = [check for fact in facts if (check := _check(fact)) is not None]
    yield from late
    if not late:
        yield ok("feed", "no transaction holds it back, and nobody is far behind")


def _check(fact: FeedFact) -> Check | None:
    age = fact.age or 0.0
    match fact.kind:
        case "transaction" | "prepared" if age > HELD:
            found = f"a transaction of {fact.name or 'a nameless session'} that writes is open for {duration(age, 1)}"
            return warning("feed", f"{found}; events wait for its end", "End it, or make it shorter.")
        case "interrupted":
            return warning("feed", f"consumer {fact.name} has lost events", "It is told so when it reads again.")
        case "consumer" if age > BEHIND:
            remedy = f"Start it again, or forget it: pgtask feed drop {fact.name}"
            return warning("feed", f"consumer {fact.name} is {duration(age, 1)} behind", remedy)
        case "webhook" if age > BEHIND:
            remedy = f"pgtask webhooks show {fact.name}"
            return warning("feed", f"webhook {fact.name} is {duration(age, 1)} behind", remedy)
        case "paused":
            remedy = f"pgtask webhooks show {fact.name}"
            return warning("feed", f"webhook {fact.name} was paused {duration(age, 1)} ago, as it failed", remedy)
    return None
