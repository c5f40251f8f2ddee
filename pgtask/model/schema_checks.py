"""What the schema should be like: complete, tidy, with room ahead, and open to those who need it; as rules."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from pgtask.model.diagnosis import Check, listing, ok, problem, unknown, warning
from pgtask.model.wording import duration, plural, share, size

INDEXES = frozenset(
    {
        *(
            "jobs_pkey",
            "jobs_lane",
            "jobs_unique_key",
            "jobs_suspect",
            "runs_job_id",
            "runs_finished_at",
            "runs_unsuccessful",
            "runs_names",
            "runs_tags",
        ),
        *("job_logs_pkey", "job_logs_logged_at", "tasks_pkey", "queues_pkey", "workers_pkey", "leader_pkey"),
        *("settings_pkey", "stats_minute_pkey"),
        *("jobs_schedule", "schedules_pkey", "schedules_name", "schedules_due", "declarations_pkey"),
        *("schedule_ticks_pkey", "schedule_ticks_fired_at"),
        *("jobs_keyed", "jobs_start_by", "limits_pkey", "limit_holds_pkey", "limit_holds_queue"),
        *("unique_keys_pkey", "unique_keys_job_id", "circuits_pkey", "circuit_tallies_pkey", "resolutions_pkey"),
        "queue_sizes_pkey",
        *("bulk_operations_pkey", "bulk_operations_due"),
        *("totals_pkey", "totals_edge_pkey", "worker_minutes_pkey", "worker_minutes_minute"),
        *("tokens_pkey", "tokens_name", "tokens_prefix", "idempotency_keys_pkey", "idempotency_keys_created_at"),
        *(
            "runs_xid",
            "feed_state_pkey",
            "feed_consumers_pkey",
            "webhooks_pkey",
            "webhooks_name",
            "webhook_networks_pkey",
        ),
        *("audit_pkey", "audit_at", "audit_actor", "audit_action", "request_rates_pkey"),
        "holdings_worker_id",
    }
)
"""Without one of these some statement reads a whole table."""

MANY_DEAD = 20_000
TOO_MANY_DEAD = 500_000
LARGE = 64 * 2**20
SPARSE = 8192
"""Bytes of the jobs table per live job from which on a large one counts as bloated."""

DEFAULT_CAP = 1000
"""Runs in the default partition are counted up to here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableFacts:
    """A table of pgtask with its partitions. Times are seconds ago, None for never."""

    name: str
    live_rows: int
    dead_rows: int
    vacuumed: float | None
    heap_bytes: int
    total_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexFacts:
    """An index of the schema."""

    name: str
    table: str
    valid: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceFacts:
    """A sequence, and how far it is; None where this role may not see that."""

    name: str
    last_value: int | None
    max_value: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionFacts:
    """The partitions of the runs, by the instant that each ends before, earliest first."""

    now: datetime
    ends: Sequence[datetime]
    retention_days: float | None
    in_default: int | None
    """Runs in the default partition, at most DEFAULT_CAP + 1; None where this role may not see them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantFacts:
    """What the current role may do."""

    role: str
    superuser: bool
    enqueue: bool
    read: bool
    work: bool
    maintain: bool


def check_tables(tables: Sequence[TableFacts]) -> Iterator[Check]:
    """Dead rows, bloat and size."""
    for table in tables:
        if table.name == "jobs":
            yield _check_dead(table)
            yield _check_bloat(table)
    largest = sorted(tables, key=lambda table: -table.total_bytes)
    parts = listing((f"{table.name} {size(table.total_bytes)}" for table in largest), 4)
    yield ok("disk", f"{size(sum(table.total_bytes for table in tables))}: {parts}")


def _check_dead(table: TableFacts) -> Check:
    vacuumed = "never vacuumed" if table.vacuumed is None else f"vacuumed {duration(int(table.vacuumed), 1)} ago"
    found = f"{plural(table.dead_rows, 'dead row')} beside {table.live_rows:,} live, {vacuumed}"
    if table.dead_rows > TOO_MANY_DEAD + table.live_rows:
        return problem("dead rows", found, "Find what holds back vacuum (see horizon), then VACUUM pgtask.jobs.")
    if table.dead_rows > MANY_DEAD + table.live_rows:
        return warning("dead rows", found, "VACUUM pgtask.jobs; if that does not help, see horizon.")
    return ok("dead rows", found)


def _check_bloat(table: TableFacts) -> Check:
    found = f"pgtask.jobs has {size(table.heap_bytes)} for {plural(table.live_rows, 'live job')}"
    if table.heap_bytes > LARGE and table.heap_bytes > SPARSE * max(table.live_rows, 1):
        return warning("bloat", found, "In a quiet hour with workers stopped: VACUUM FULL pgtask.jobs.")
    return ok("bloat", found)


def check_indexes(indexes: Collection[IndexFacts]) -> Iterator[Check]:
    """All there, all in use."""
    missing = sorted(INDEXES - {index.name for index in indexes})
    invalid = [index for index in indexes if not index.valid]
    if missing:
        yield problem(
            "indexes", f"missing: {listing(missing, 5)}", "Create it as in migrations/versions, without CONCURRENTLY."
        )
    for index in invalid:
        yield problem(
            "indexes",
            f"{index.name} on {index.table} is invalid, so it is not used",
            f"REINDEX INDEX pgtask.{index.name};",
        )
    if not missing and not invalid:
        yield ok("indexes", f"all {len(INDEXES)} are there and valid")


def check_sequences(sequences: Collection[SequenceFacts]) -> Iterator[Check]:
    """Ids left."""
    seen = [(found.last_value / found.max_value, found) for found in sequences if found.last_value is not None]
    for used, found in seen:
        if used > 0.7:
            make = problem if used > 0.95 else warning
            left = found.max_value - (found.last_value or 0)
            yield make(
                "sequences", f"{found.name} has {left:,} numbers left", "Report it: the column must become wider."
            )
    if all(used <= 0.7 for used, _ in seen):
        fullest = max(seen, default=None, key=lambda pair: pair[0])
        if fullest is None:
            yield ok("sequences", "none used yet") if sequences else unknown("sequences", "this role may not see them")
        else:
            yield ok("sequences", f"the fullest, {fullest[1].name}, has used {share(fullest[0])}")


def check_partitions(facts: PartitionFacts) -> Iterator[Check]:
    """Partitions of the coming days, the default one, and retention."""
    upkeep = "Keep a worker running whose role owns the tables: it makes and drops partitions."
    last = max(facts.ends, default=None)
    if last is None or last <= facts.now:
        yield problem("partitions", "there is none for today, so runs go to the default one", upkeep)
    elif last <= facts.now + timedelta(days=1):
        yield warning("partitions", f"the last one ends in {duration((last - facts.now).total_seconds())}", upkeep)
    else:
        ahead = duration((last - facts.now).total_seconds(), 1)
        yield ok("partitions", f"{plural(len(facts.ends), 'partition')}, the last one ends in {ahead}")
    if facts.in_default is None:
        yield unknown("default partition", "this role may not see it")
    elif facts.in_default:
        number = plural(min(facts.in_default, DEFAULT_CAP), "run", facts.in_default <= DEFAULT_CAP)
        yield warning(
            "default partition",
            f"{number} came when no partition was there for them",
            "They are pruned row by row when they expire. Keep a worker running, so that it does not happen again.",
        )
    else:
        yield ok("default partition", "empty")
    yield _check_retention(facts, upkeep)


def _check_retention(facts: PartitionFacts, upkeep: str) -> Check:
    if facts.retention_days is None:
        return warning(
            "retention",
            "runs are kept for ever",
            "UPDATE pgtask.settings SET value = '14' WHERE name = 'retention_days';",
        )
    keep = f"runs are kept for {duration(facts.retention_days * 86400)}"
    # A day of grace: upkeep comes by and by.
    before = facts.now - timedelta(days=min(facts.retention_days, 36500) + 1)
    expired = [end for end in facts.ends if end <= before]
    if expired:
        return warning("retention", f"{keep}, but {plural(len(expired), 'older partition')} are still there", upkeep)
    return ok("retention", keep)


def check_grants(facts: GrantFacts) -> Check:
    """What the current role may do."""
    able = ("enqueue", "read", "work", "maintain")
    may = [word for word in able if getattr(facts, word)]
    may_not = [word for word in able if not getattr(facts, word)]
    kind = " (superuser)" if facts.superuser else ""
    if not may:
        return problem("grants", f"role {facts.role} may do nothing in schema pgtask", "Connect as a role that may.")
    found = f"role {facts.role}{kind} may {listing(may, 4)}" + (f", not {listing(may_not, 4)}" if may_not else "")
    if facts.work and not facts.maintain:
        return warning(
            "grants",
            found,
            "Let one worker run as the owner of the tables: partitions are made and dropped by nobody else.",
        )
    return ok("grants", found)
