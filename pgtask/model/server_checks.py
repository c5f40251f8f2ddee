"""What a PostgreSQL server should be like to hold a job queue, as rules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pgtask.model.diagnosis import Check, ok, problem, unknown, warning
from pgtask.model.wording import duration, plural, size

OLDEST_SERVER = 15
SMALL_BUFFERS = 256 * 2**20
SMALL_WAL = 2 * 2**30
EXTRA_PER_WORKER = 3
"""Connections that a worker has besides one per executor."""

LONG = 300.0
VERY_LONG = 3600.0
"""Seconds that a transaction may be open until it is worth a word, and until it is a problem."""

OLD_XIDS = 1_000_000
MUCH_WAL = 10 * 2**30


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerFacts:
    """The server as a whole; settings are as a new session of this role would have them."""

    version: str
    version_number: int
    in_recovery: bool
    settings: Mapping[str, str]
    """Sizes in bytes and times in milliseconds."""
    sessions: int
    """Connections in use by all clients."""
    transaction_age: int
    """Transactions since the oldest row of this database that is not frozen."""
    notification_queue: float
    """Share of the notification queue in use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """What keeps dead rows from being removed. Ages are seconds, or transactions where there is no clock."""

    kind: str
    """`transaction`, `prepared`, `slot` or `standby`."""
    name: str
    pid: int | None
    state: str | None
    age: float | None
    xid_age: int | None
    retained: int | None
    """Bytes of WAL that a replication slot keeps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """What lies between here and the server. Seconds."""

    pooled: bool
    """Successive transactions of a connection do not stay on one server process."""
    indirect: bool
    """Something in between answers for the server, as poolers do."""
    clock_offset: float
    """The database's clock minus this machine's."""
    round_trip: float


def check_server(facts: ServerFacts) -> Iterator[Check]:
    """Version, role in a cluster, settings that matter."""
    version = f"PostgreSQL {facts.version}"
    if facts.version_number // 10000 < OLDEST_SERVER:
        yield problem("server", version, f"Upgrade it: pgtask needs PostgreSQL {OLDEST_SERVER} or newer.")
    elif facts.in_recovery:
        yield problem("server", f"{version}, a read-only standby", "Connect to the primary server.")
    else:
        yield ok("server", version)
    yield from _check_durability(facts.settings)
    yield _check_autovacuum(facts.settings)
    yield from _check_memory(facts.settings)
    yield _check_timeouts(facts.settings)
    yield _check_age(facts.transaction_age)
    if facts.notification_queue > 0.01:
        grave = problem if facts.notification_queue > 0.5 else warning
        yield grave(
            "notifications",
            f"the notification queue is {facts.notification_queue:.0%} full",
            "End the session that listens inside an open transaction; once the queue is full, commits fail.",
        )


def _check_durability(settings: Mapping[str, str]) -> Iterator[Check]:
    off = [name for name in ("fsync", "full_page_writes") if settings.get(name) == "off"]
    if off:
        yield problem(
            "durability",
            f"{' and '.join(off)} off: a crash of the machine ruins the data",
            f"Set {' and '.join(off)} = on.",
        )
    elif settings.get("synchronous_commit") == "off":
        yield warning(
            "durability",
            "synchronous_commit is off: a crash of the server loses the last acknowledged jobs",
            "Set synchronous_commit = on.",
        )
    else:
        yield ok("durability", f"fsync on, synchronous_commit {settings.get('synchronous_commit')}")


def _check_autovacuum(settings: Mapping[str, str]) -> Check:
    off = [name for name in ("autovacuum", "track_counts") if settings.get(name) == "off"]
    if off:
        return problem("autovacuum", f"{' and '.join(off)} off", f"Set {' and '.join(off)} = on: a queue needs it.")
    naptime = int(settings.get("autovacuum_naptime", 0)) / 1000
    if naptime > 60:
        return warning("autovacuum", f"on, but looks only every {duration(naptime)}", "Set autovacuum_naptime = 10s.")
    return ok("autovacuum", f"on, looks every {duration(naptime)}")


def _check_memory(settings: Mapping[str, str]) -> Iterator[Check]:
    buffers, wal = int(settings.get("shared_buffers", 0)), int(settings.get("max_wal_size", 0))
    if buffers < SMALL_BUFFERS:
        yield warning(
            "shared_buffers", _bytes(buffers), "Set it to about a quarter of the memory, and restart the server."
        )
    else:
        yield ok("shared_buffers", _bytes(buffers))
    if wal < SMALL_WAL:
        yield warning("max_wal_size", f"{_bytes(wal)}: checkpoints come often under load", "Set max_wal_size = 4GB.")
    else:
        yield ok("max_wal_size", _bytes(wal))


def _bytes(number: int) -> str:
    # PostgreSQL's own units, so that the value can be found in its configuration.
    for unit, length in (("GB", 2**30), ("MB", 2**20), ("kB", 2**10)):
        if number >= length:
            return f"{number / length:.1f}".removesuffix(".0") + f" {unit}"
    return f"{number} B"


def _check_timeouts(settings: Mapping[str, str]) -> Check:
    idle, statement = (
        int(settings.get(name, 0)) / 1000 for name in ("idle_in_transaction_session_timeout", "statement_timeout")
    )
    found = f"statements {_limit(statement)}, idle transactions {_limit(idle)}"
    if not idle:
        return warning(
            "timeouts",
            f"{found}: a forgotten transaction holds back vacuum for ever",
            "Set idle_in_transaction_session_timeout = '10min' for the roles of your applications.",
        )
    return ok("timeouts", found)


def _limit(seconds: float) -> str:
    return f"end after {duration(seconds)}" if seconds else "have no limit"


def _check_age(age: int) -> Check:
    found = f"the oldest row is {plural(age, 'transaction')} old"
    remedy = "Find what holds back vacuum (see horizon), then VACUUM FREEZE the oldest tables."
    if age > 1_500_000_000:
        return problem("wraparound", f"{found}; at 2,100,000,000 the server stops writing", remedy)
    if age > 800_000_000:
        return warning("wraparound", found, remedy)
    return ok("wraparound", found)


def check_connections(facts: ServerFacts, workers: int, executors: int) -> Check:
    """Whether there are connections for those who need them."""
    settings = facts.settings
    reserved = sum(int(settings.get(name, 0)) for name in ("superuser_reserved_connections", "reserved_connections"))
    places = int(settings.get("max_connections", 0)) - reserved
    need = executors + EXTRA_PER_WORKER * workers
    found = f"{facts.sessions} of {places} in use; the live workers need {need}"
    remedy = "Raise max_connections, start fewer executors, or put a pooler before the services that enqueue."
    if need > places:
        return problem("connections", found, remedy)
    if facts.sessions > 0.8 * places or need > 0.8 * places:
        return warning("connections", found, remedy)
    return ok("connections", found)


def check_horizon(holders: list[Holder], hidden: int) -> Iterator[Check]:
    """Who keeps dead rows from being removed: `hidden` sessions could not be looked into."""
    grave = [(holder, verdict) for holder in holders if (verdict := _gravity(holder)) is not None]
    for holder, serious in grave[:5]:
        make = problem if serious else warning
        yield make("horizon", _describe(holder), _REMEDIES[holder.kind].format(name=holder.name, pid=holder.pid))
    if not grave:
        oldest = max((holder.age or 0 for holder in holders if holder.kind == "transaction"), default=0)
        found = f"the oldest transaction has been open for {duration(oldest)}" if oldest > 1 else "no old transaction"
        yield ok("horizon", f"{found}; no prepared one, slot or standby lags behind")
    if hidden:
        yield unknown(
            "horizon",
            f"{plural(hidden, 'session')} of other roles could not be looked into",
            "GRANT pg_read_all_stats TO this role.",
        )


_REMEDIES = {
    "transaction": "End it: SELECT pg_terminate_backend({pid}); and find out why it stays open.",
    "prepared": "Finish it: COMMIT PREPARED '{name}' or ROLLBACK PREPARED '{name}'.",
    "slot": "If nobody needs it any more: SELECT pg_drop_replication_slot('{name}');",
    "standby": "End the long query on the standby {name}, or set hot_standby_feedback = off there.",
}


def _gravity(holder: Holder) -> bool | None:
    """None: not worth a word; else whether it is a problem already."""
    if holder.kind == "slot":
        xids, wal = holder.xid_age or 0, holder.retained or 0
        return xids > 10 * OLD_XIDS or wal > 10 * MUCH_WAL if xids > OLD_XIDS or wal > MUCH_WAL else None
    if holder.kind == "standby":
        xids = holder.xid_age or 0
        return xids > 10 * OLD_XIDS if xids > OLD_XIDS else None
    age = holder.age or 0
    return age > VERY_LONG if age > LONG else None


def _describe(holder: Holder) -> str:
    match holder.kind:
        case "transaction":
            who = f"pid {holder.pid} ({holder.name or 'no application name'}, {holder.state or 'state unknown'})"
            return f"{who} has had a transaction open for {duration(holder.age or 0)}"
        case "prepared":
            return f"transaction '{holder.name}' was prepared {duration(holder.age or 0)} ago and never finished"
        case "slot":
            wal = f" and keeps {size(holder.retained)} of WAL" if holder.retained else ""
            return (
                f"replication slot {holder.name} ({holder.state}) is {holder.xid_age or 0:,} transactions behind{wal}"
            )
        case _:
            return f"standby {holder.name} holds back {holder.xid_age or 0:,} transactions"


def check_route(route: Route, pooled: bool = False) -> Iterator[Check]:
    """Poolers in between, which is well with the setting `pooled`, and the clocks at both ends."""
    trip = f"round trip {duration(route.round_trip)}"
    if route.pooled and pooled:
        yield ok("route", f"a transaction pooler is in between, as set, {trip}")
    elif route.pooled:
        yield warning(
            "route",
            f"a transaction pooler is in between, {trip}",
            "Start workers with --pooled (PGTASK_POOLED=true), or give them a URL that reaches PostgreSQL itself.",
        )
    else:
        yield ok("route", f"{'a session pooler is in between' if route.indirect else 'direct'}, {trip}")
    ahead = "ahead of" if route.clock_offset > 0 else "behind"
    off = abs(route.clock_offset)
    # Half the round trip is what the measurement itself can be wrong by.
    if off > 1 + route.round_trip / 2:
        yield warning(
            "clock",
            f"the database's clock is {duration(off)} {ahead} this machine's; jobs go by the database's",
            "Run a time service (NTP) on both; until then give delays rather than times.",
        )
    else:
        yield ok("clock", f"agrees with the database's to {duration(max(off, route.round_trip / 2, 0.001))}")
