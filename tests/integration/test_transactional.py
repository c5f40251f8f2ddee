"""Transactional attempts in the slots of an executor: their effects exist if and only if the attempt completed."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import Any

import psycopg
import pytest
import sqlalchemy
from psycopg.rows import dict_row
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from pgtask import Cancel, Discard, JobContext, JobTimeout, PgTask, Retry, Snooze, TaskError, TransactionError
from pgtask.database.transaction import HandlerConnection
from pgtask.engine.attempt import Attempt
from pgtask.engine.completer import Completer
from pgtask.engine.handler import Handlers
from pgtask.engine.marks import Marks
from pgtask.engine.prefetch import Prefetch
from pgtask.engine.slots import Slots
from pgtask.engine.transactions import Transactions
from tests.integration.conftest import Work
from tests.rows import ended, insert, job, live, number, runs, statuses
from tests.support import eventually

Connection = psycopg.Connection[Any]
Handler = Callable[[JobContext], Any]

CONNECTIONS = (
    "FROM pg_stat_activity WHERE application_name LIKE 'pgtask transaction %%' AND datname = current_database()"
)


class Bench:
    """An executor's slots on a real database, with one transactional task whose function is set by each test."""

    def __init__(self, url: str, work: Work, slots: int = 2) -> None:
        self.work = work
        self.handler: Handler = lambda _: None
        self.app = app = PgTask(url)

        @app.task(name="t", transactional=True)
        def run(ctx: JobContext) -> Any:
            return self.handler(ctx)

        @app.task(name="plain")
        def plain() -> str:
            return "plain"

        @app.task(name="coroutine")
        async def coroutine() -> str:
            return "coroutine"

        _, self.marks = Marks.create(100)
        self.ended: SimpleQueue[Attempt] = SimpleQueue()
        self.opened: list[HandlerConnection] = []
        self.transactions = Transactions(lambda: self.open(url), {"t": None})
        handlers = Handlers(app.tasks, lambda *_: None, lambda *_: None, self.transactions)
        self.slots = Slots(app.tasks, handlers, self.marks, slots, self.ended.put, lambda: None)
        self.completer = Completer(Prefetch(slots), self.marks.release)

    def open(self, url: str) -> HandlerConnection:
        """What the executor connects with."""
        self.opened.append(HandlerConnection(url, self.work.worker_id, self.work.executor))
        return self.opened[-1]

    def start(self, handler: Handler, timeout: float | None = None, task: str = "t") -> Attempt:
        """Claims the next job and hands it to a slot."""
        self.handler = handler
        (claimed,) = self.work.claim(1, tasks=[task])
        attempt = Attempt(claimed.id, claimed.attempt, task, "default", 1, {}, timeout, 0, time.monotonic())
        attempt.mark = self.marks.hold(*attempt.key)
        self.slots.submit([attempt])
        return attempt

    def finish(self) -> Attempt:
        """Waits for the next attempt to end and hands it in as the exchange would."""
        attempt = self.ended.get(timeout=20)
        self.completer.add(attempt)
        batch = self.completer.take()
        self.completer.settle(self.work.connection.exchange(*self.completer.batches(batch), None, None, ["t"]))
        return attempt

    def run(self, handler: Handler, timeout: float | None = None) -> Attempt:
        """Runs a job to its end."""
        self.start(handler, timeout)
        return self.finish()

    def close(self) -> None:
        """Closes what was opened."""
        for connection in self.opened:
            connection.close()
        self.marks.close()


@pytest.fixture
def bench(database: str, connection: Connection, work: Work) -> Iterator[Bench]:
    connection.execute("CREATE TABLE public.effects (id int8, note text, UNIQUE (note) DEFERRABLE INITIALLY DEFERRED)")
    made = Bench(database, work)
    yield made
    made.close()


def effect(ctx: JobContext, note: str | None = None) -> None:
    ctx.connection.execute("INSERT INTO public.effects (id, note) VALUES (%s, %s)", [ctx.id, note or str(ctx.id)])


def effects(connection: Connection) -> int:
    return number(connection, "SELECT count(*) FROM public.effects")


def test_effects_and_completion_are_one_commit(bench: Bench, connection: Connection) -> None:
    (id,) = insert(connection, "t", {"a": 1}, tags=["x"])
    seen: list[int] = []

    def handler(ctx: JobContext) -> dict[str, Any]:
        effect(ctx)
        seen.append(effects(connection))
        return {"done": True}

    bench.run(handler)

    assert seen == [0]
    assert job(connection, id) is None
    run = ended(connection, id)
    assert (run["outcome"], run["attempt"], run["result"], run["tags"]) == ("completed", 1, {"done": True}, ["x"])
    (same,) = connection.execute(
        "SELECT e.xmin = r.xmin FROM public.effects e, pgtask.runs r WHERE r.job_id = e.id"
    ).fetchone() or (None,)
    assert same, "the row and the run were written by one transaction"


def test_nothing_of_it_is_handed_in_again_and_all_bookkeeping_is_released(
    bench: Bench, connection: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    insert(connection, "t")
    bench.start(effect)
    attempt = bench.ended.get(timeout=10)
    bench.completer.add(attempt)

    batch = bench.completer.take()
    assert bench.completer.batches(batch) == (None, None)
    bench.completer.settle(bench.work.connection.exchange(None, None, None, None, []))

    assert (len(bench.completer), bench.marks.read(), bench.slots.unfinished) == (0, [], 0)
    assert (bench.completer.superseded, caplog.messages) == (0, [])


def test_a_committed_attempt_whose_exchange_is_lost_is_recognised(bench: Bench, connection: Connection) -> None:
    insert(connection, "t")
    bench.start(effect)
    bench.completer.add(bench.ended.get(timeout=10))
    bench.completer.take()

    bench.completer.resend(bench.work.connection)

    assert (len(bench.completer), bench.completer.superseded, bench.marks.read()) == (0, 0, [])


@pytest.mark.parametrize(
    ("verdict", "outcome", "status"),
    [
        (ValueError("no"), "failed", "retrying"),
        (Retry(after=5), "failed", "retrying"),
        (Snooze(5), "snoozed", "scheduled"),
        (Cancel("enough"), "cancelled", "cancelled"),
        (Discard("useless"), "failed", "failed"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
@pytest.mark.parametrize("returned", [False, True], ids=["raised", "returned"])
def test_an_attempt_that_ends_otherwise_leaves_no_effect(
    bench: Bench, connection: Connection, verdict: Exception, outcome: str, status: str, returned: bool
) -> None:
    (id,) = insert(connection, "t")

    def handler(ctx: JobContext) -> Exception:
        effect(ctx)
        if returned and not isinstance(verdict, ValueError):
            return verdict
        raise verdict

    bench.run(handler)

    assert effects(connection) == 0
    assert [run["outcome"] for run in runs(connection, id)] == [outcome]
    assert statuses(connection, [id]) == {id: status}


def test_a_result_that_cannot_be_stored_fails_the_job_and_undoes_its_effects(
    bench: Bench, connection: Connection
) -> None:
    (id,) = insert(connection, "t")

    def handler(ctx: JobContext) -> object:
        effect(ctx)
        return object()

    bench.run(handler)

    assert effects(connection) == 0
    (run,) = runs(connection, id)
    assert (run["outcome"], run["error_type"]) == ("failed", "PayloadError")


def test_a_result_that_only_postgresql_refuses_fails_the_job(bench: Bench, connection: Connection) -> None:
    (id,) = insert(connection, "t")

    def handler(ctx: JobContext) -> Any:
        effect(ctx)
        return 10**200_000 // 10  # more digits than numeric takes

    bench.run(handler)

    assert effects(connection) == 0
    assert runs(connection, id)[0]["outcome"] == "failed"


def test_a_job_that_is_no_longer_ours_leaves_no_effect_and_is_superseded(
    bench: Bench, connection: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    (id,) = insert(connection, "t")

    def handler(ctx: JobContext) -> None:
        effect(ctx)
        connection.execute("UPDATE pgtask.jobs SET attempt = attempt + 1 WHERE id = %s", [id])

    bench.run(handler)

    assert (effects(connection), runs(connection, id)) == (0, [])
    assert live(connection, id)["attempt"] == 2
    assert bench.completer.superseded == 1
    assert "its outcome (completed) was refused" in caplog.messages[0]


def test_other_tasks_run_beside_it(bench: Bench, connection: Connection) -> None:
    insert(connection, "t")
    insert(connection, "plain")
    insert(connection, "coroutine")

    for task in ("t", "plain", "coroutine"):
        bench.start(effect, task=task)
        bench.finish()

    assert connection.execute("SELECT task, outcome::text, result FROM pgtask.runs ORDER BY job_id").fetchall() == [
        ("t", "completed", None),
        ("plain", "completed", "plain"),
        ("coroutine", "completed", "coroutine"),
    ]
    assert (effects(connection), len(bench.opened)) == (1, 1)


# What a handler may not do


@pytest.mark.parametrize("method", ["commit", "rollback", "close"])
def test_ending_the_transaction_is_refused(bench: Bench, connection: Connection, method: str) -> None:
    (id,) = insert(connection, "t", max_retries=0)

    def handler(ctx: JobContext) -> None:
        effect(ctx)
        getattr(ctx.connection, method)()

    bench.run(handler)

    assert effects(connection) == 0
    run = ended(connection, id)
    assert (run["status"], run["error_type"]) == ("failed", "TransactionError")
    assert "ctx.connection" in run["error"]


def test_a_with_block_around_the_connection_is_refused(bench: Bench, connection: Connection) -> None:
    (id,) = insert(connection, "t", max_retries=0)

    def handler(ctx: JobContext) -> None:
        with ctx.connection:
            effect(ctx)

    bench.run(handler)

    assert (effects(connection), ended(connection, id)["error_type"]) == (0, "TransactionError")


@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK", "COMMIT AND CHAIN", "ROLLBACK AND CHAIN"])
@pytest.mark.parametrize("then", [None, "SELECT 1"])
def test_ending_it_by_sql_is_detected_and_never_tried_again(
    bench: Bench, connection: Connection, end: str, then: str | None
) -> None:
    (id,) = insert(connection, "t")

    def handler(ctx: JobContext) -> None:
        effect(ctx)
        ctx.connection.execute(end.encode())
        if then:
            ctx.connection.execute(then.encode())

    bench.run(handler)

    assert effects(connection) == ("COMMIT" in end)
    run = ended(connection, id)
    assert (run["status"], run["error_type"]) == ("failed", "TransactionError")
    assert "by hand" in run["error"]


def test_an_error_swallowed_inside_the_transaction_fails_the_job(bench: Bench, connection: Connection) -> None:
    (id,) = insert(connection, "t")

    def handler(ctx: JobContext) -> None:
        effect(ctx)
        with pytest.raises(psycopg.errors.DivisionByZero):
            ctx.connection.execute("SELECT 1 / 0")

    bench.run(handler)

    assert effects(connection) == 0
    assert "aborted" in runs(connection, id)[0]["error"]


def test_a_connection_left_in_use_fails_the_job(bench: Bench, connection: Connection) -> None:
    (id,) = insert(connection, "t")

    def handler(ctx: JobContext) -> None:
        effect(ctx)
        ctx.connection.pgconn.enter_pipeline_mode()

    bench.run(handler)

    assert effects(connection) == 0
    assert "in use" in runs(connection, id)[0]["error"]


def test_nested_transactions_are_savepoints(bench: Bench, connection: Connection) -> None:
    insert(connection, "t")

    def handler(ctx: JobContext) -> None:
        with ctx.connection.transaction():
            effect(ctx, "kept")
        with ctx.connection.transaction() as nested:
            effect(ctx, "undone")
            raise psycopg.Rollback(nested)

    bench.run(handler)

    assert connection.execute("SELECT note FROM public.effects").fetchall() == [("kept",)]


def test_a_savepoint_left_open_is_part_of_the_transaction(bench: Bench, connection: Connection) -> None:
    (id,) = insert(connection, "t")

    def handler(ctx: JobContext) -> None:
        ctx.connection.execute("SAVEPOINT mine")
        effect(ctx)

    bench.run(handler)

    assert (effects(connection), ended(connection, id)["status"]) == (1, "completed")


def test_a_constraint_deferred_to_the_commit_fails_the_job(bench: Bench, connection: Connection) -> None:
    (id,) = insert(connection, "t")

    def handler(ctx: JobContext) -> None:
        effect(ctx, "same")
        effect(ctx, "same")

    bench.run(handler)

    assert effects(connection) == 0
    (run,) = runs(connection, id)
    assert (run["outcome"], run["error_type"]) == ("failed", "UniqueViolation")
    assert live(connection, id)["status"] == "pending"


@pytest.mark.parametrize("disturbed", [False, True])
def test_a_handler_may_choose_its_isolation_level(bench: Bench, connection: Connection, disturbed: bool) -> None:
    (id,) = insert(connection, "t")

    def handler(ctx: JobContext) -> None:
        ctx.connection.execute("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE")
        effect(ctx)
        if disturbed:
            connection.execute("UPDATE pgtask.jobs SET progress = 50 WHERE id = %s", [id])

    bench.run(handler)

    assert effects(connection) == (not disturbed)
    (run,) = runs(connection, id)
    assert (run["outcome"], run["error_type"]) == (
        ("failed", "SerializationFailure") if disturbed else ("completed", None)
    )


def test_a_transaction_made_read_only_fails_the_job(bench: Bench, connection: Connection) -> None:
    (id,) = insert(connection, "t")

    def handler(ctx: JobContext) -> None:
        ctx.connection.execute("SET TRANSACTION READ ONLY")

    bench.run(handler)

    (run,) = runs(connection, id)
    assert (run["outcome"], run["error_type"]) == ("failed", "ReadOnlySqlTransaction")


def test_a_role_without_rights_on_the_queue_may_do_the_work(bench: Bench, connection: Connection) -> None:
    (id,) = insert(connection, "t")
    connection.execute("GRANT ALL ON public.effects TO pg_monitor")

    def handler(ctx: JobContext) -> None:
        ctx.connection.execute("SET LOCAL ROLE pg_monitor")
        effect(ctx)

    bench.run(handler)

    assert (effects(connection), ended(connection, id)["status"]) == (1, "completed")


def test_the_connection_is_gone_once_the_handler_has_ended(bench: Bench, connection: Connection) -> None:
    insert(connection, "t")
    kept: list[Any] = []

    bench.run(lambda ctx: kept.extend([ctx, ctx.connection]))

    with pytest.raises(psycopg.OperationalError, match="closed"):
        kept[1].execute("SELECT 1")
    with pytest.raises(TransactionError):
        _ = kept[0].connection


# Connections


def test_connections_are_kept_and_nothing_leaks_to_the_next_job(bench: Bench, connection: Connection) -> None:
    insert(connection, "t", count=2)
    connection.execute("CREATE SCHEMA elsewhere")

    def first(ctx: JobContext) -> int:
        ctx.connection.row_factory = dict_row
        for statement in (
            b"SET search_path = elsewhere",
            b"SET statement_timeout = '77s'",
            b"SET work_mem = '1MB'",
            b"CREATE TEMPORARY TABLE mine ()",
            b"SELECT pg_advisory_lock(42)",
            b"LISTEN mine",
            b"PREPARE mine AS SELECT 1",
            b"DECLARE held CURSOR WITH HOLD FOR SELECT 1",
        ):
            ctx.connection.execute(statement)
        for _ in range(10):
            ctx.connection.execute("SELECT %s::int", [1])
        return ctx.connection.info.backend_pid

    def second(ctx: JobContext) -> list[Any]:
        query = """
            SELECT current_setting('search_path'), current_setting('statement_timeout'), current_setting('work_mem'),
                   to_regclass('pg_temp.mine')::text,
                   (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()),
                   (SELECT count(*) FROM pg_listening_channels()),
                   (SELECT count(*) FROM pg_prepared_statements), (SELECT count(*) FROM pg_cursors WHERE name = 'held'),
                   pg_backend_pid(), current_setting('application_name')
        """
        # Under the name that the first handler's connection had prepared it.
        for _ in range(10):
            ctx.connection.execute("SELECT %s::int + 1", [1])
        return list(ctx.connection.execute(query.encode()).fetchone() or [])

    defaults = connection.execute("SELECT current_setting('search_path'), '0', current_setting('work_mem')").fetchone()
    pid = _result(bench.run(first))
    seen = _result(bench.run(second))

    assert tuple(seen[:3]) == defaults
    assert seen[3:6] == [None, 0, 0]
    assert seen[6] <= 1  # its own
    assert seen[7:] == [0, pid, f"pgtask transaction {bench.work.worker_id}.{bench.work.executor}"]
    assert len(bench.opened) == 1


def _result(attempt: Attempt) -> Any:
    return json.loads(attempt.result or "null")


def test_as_many_connections_as_slots_run(bench: Bench, connection: Connection) -> None:
    insert(connection, "t", count=6)
    together = threading.Barrier(2, timeout=10)

    def handler(ctx: JobContext) -> None:
        together.wait()
        effect(ctx)

    for _ in range(3):
        bench.start(handler)
        bench.start(handler)
        bench.finish()
        bench.finish()

    assert (effects(connection), len(bench.opened)) == (6, 2)


@pytest.mark.parametrize("swallowed", [False, True])
def test_a_lost_connection_charges_nothing(bench: Bench, connection: Connection, swallowed: bool) -> None:
    (id,) = insert(connection, "t")

    def handler(ctx: JobContext) -> None:
        effect(ctx)
        connection.execute("SELECT pg_terminate_backend(%s, 5000)", [ctx.connection.info.backend_pid])
        try:
            ctx.connection.execute("SELECT 1")
        except psycopg.Error:
            if not swallowed:
                raise

    bench.run(handler)

    assert effects(connection) == 0
    (run,) = runs(connection, id)
    assert (run["outcome"], run["retry_count"], run["error_type"]) == ("released", 0, "ConnectionLost")
    assert live(connection, id)["status"] == "pending"


def test_a_kept_connection_that_has_died_is_replaced(bench: Bench, connection: Connection) -> None:
    first, second = insert(connection, "t", count=2)
    bench.run(effect)
    number(connection, f"SELECT count(pg_terminate_backend(pid, 5000)) {CONNECTIONS}")

    bench.run(effect)

    assert effects(connection) == 2
    assert [len(runs(connection, id)) for id in (first, second)] == [1, 1]


def test_an_attempt_waits_for_the_database(bench: Bench, connection: Connection, monkeypatch: Any) -> None:
    (id,) = insert(connection, "t")
    refused = threading.Event()
    back = threading.Event()
    connect = bench.transactions._connect

    def flaky() -> HandlerConnection:
        if not back.is_set():
            refused.set()
            raise psycopg.OperationalError("the database is away")
        return connect()

    monkeypatch.setattr(bench.transactions, "_connect", flaky)
    bench.start(effect)
    assert refused.wait(10)
    back.set()
    bench.finish()

    assert (effects(connection), len(runs(connection, id)), ended(connection, id)["status"]) == (1, 1, "completed")


def test_an_attempt_that_waits_can_be_cancelled_and_given_back(
    bench: Bench, connection: Connection, monkeypatch: Any
) -> None:
    cancelled, stopped = insert(connection, "t", count=2)
    refused = threading.Semaphore(0)

    def away() -> HandlerConnection:
        refused.release()
        raise psycopg.OperationalError("the database is away")

    monkeypatch.setattr(bench.transactions, "_connect", away)
    bench.start(effect)
    assert refused.acquire(timeout=10)
    bench.slots.cancel(cancelled, 1)
    bench.finish()
    bench.start(effect)
    assert refused.acquire(timeout=10)
    bench.transactions.stop()
    bench.finish()

    assert (ended(connection, cancelled)["status"], runs(connection, stopped)) == ("cancelled", [])
    assert live(connection, stopped)["status"] == "pending"


# The answer to the COMMIT is lost


class CutCommit(HandlerConnection):
    """Loses its connection at the COMMIT: after it, before it, or before the completion."""

    when = "after"

    def complete(self, *arguments: Any) -> bool:
        if CutCommit.when == "completion":
            self._cut()
        return super().complete(*arguments)

    def commit(self) -> None:
        if CutCommit.when == "after":
            super().commit()
        self._cut()
        if CutCommit.when == "before":
            super().commit()
        raise psycopg.OperationalError("the connection is lost")

    def _cut(self) -> None:
        end = socket.socket(fileno=os.dup(self._own.pgconn.socket))
        end.shutdown(socket.SHUT_RDWR)
        end.close()


@pytest.mark.parametrize("when", ["after", "before", "completion"])
def test_a_lost_answer_to_the_commit_is_found_out(
    bench: Bench, database: str, connection: Connection, monkeypatch: Any, when: str
) -> None:
    (id,) = insert(connection, "t")
    CutCommit.when = when
    made: list[HandlerConnection] = []

    def connect() -> HandlerConnection:
        kind = HandlerConnection if made else CutCommit
        made.append(kind(database, bench.work.worker_id, bench.work.executor))
        return made[-1]

    monkeypatch.setattr(bench.transactions, "_connect", connect)
    bench.run(effect)

    assert bench.completer.superseded == 0
    committed = when == "after"
    assert effects(connection) == committed
    assert [run["outcome"] for run in runs(connection, id)] == ["completed" if committed else "released"]
    assert (job(connection, id) is None) == committed
    for opened in made:
        opened.close()


# Interrupts


@pytest.mark.parametrize("how", ["timeout", "cancelled"])
def test_an_interrupt_cancels_the_statement_under_way(bench: Bench, connection: Connection, how: str) -> None:
    (id,) = insert(connection, "t")

    def handler(ctx: JobContext) -> None:
        effect(ctx)
        ctx.connection.execute("SELECT pg_sleep(60)")

    attempt = bench.start(handler, timeout=0.01 if how == "timeout" else None)
    eventually(lambda: number(connection, f"SELECT count(*) {CONNECTIONS} AND wait_event = 'PgSleep'"))
    if how == "timeout":
        # It may have got to its statement before its time was up.
        eventually(lambda: bench.slots.threads.stop_overdue() is not None and not bench.ended.empty())
    else:
        bench.slots.cancel(id, attempt.attempt)
    bench.finish()

    assert (effects(connection), runs(connection, id)[0]["outcome"]) == (0, how)
    # What was interrupted is not used again.
    eventually(lambda: not number(connection, f"SELECT count(*) {CONNECTIONS}"))


def test_an_interrupt_in_python_code_rolls_back_too(bench: Bench, connection: Connection) -> None:
    (id,) = insert(connection, "t")
    begun = threading.Event()
    seen: list[type] = []

    def handler(ctx: JobContext) -> None:
        effect(ctx)
        begun.set()
        try:
            while True:
                time.sleep(0.001)
        except JobTimeout as error:
            seen.append(type(error))
            raise

    bench.start(handler, timeout=0.001)
    assert begun.wait(10)
    eventually(lambda: bench.slots.threads.stop_overdue() is not None and seen)
    bench.finish()

    assert (effects(connection), runs(connection, id)[0]["outcome"]) == (0, "timeout")


# SQLAlchemy


def test_an_engine_of_sqlalchemy_joins_the_transaction(bench: Bench, connection: Connection) -> None:
    (id,) = insert(connection, "t")
    seen: list[int] = []

    def handler(ctx: JobContext) -> None:
        effect(ctx, "before")
        engine = sqlalchemy.create_engine("postgresql+psycopg://", creator=ctx.joined, poolclass=NullPool)
        statement = sqlalchemy.text("INSERT INTO effects (id, note) VALUES (1, :note)")
        with Session(engine) as session:
            session.execute(statement, {"note": "committed"})
            session.commit()
            session.execute(statement, {"note": "undone"})
            session.rollback()
            session.execute(statement, {"note": "never committed"})
        with engine.begin() as own, own.begin_nested():
            own.execute(statement, {"note": "nested"})
        with contextlib.suppress(DBAPIError), engine.begin() as own:
            own.execute(statement, {"note": "failed"})
            own.execute(sqlalchemy.text("SELECT 1 / 0"))
        effect(ctx, "after")
        seen.append(effects(connection))

    bench.run(handler)

    assert seen == [0]
    notes = {row[0] for row in connection.execute("SELECT note FROM public.effects")}
    assert notes == {"before", "committed", "nested", "after"}
    assert ended(connection, id)["status"] == "completed"


def test_what_sqlalchemy_committed_is_undone_with_the_job(bench: Bench, connection: Connection) -> None:
    (id,) = insert(connection, "t", max_retries=0)

    def handler(ctx: JobContext) -> None:
        engine = sqlalchemy.create_engine("postgresql+psycopg://", creator=ctx.joined, poolclass=NullPool)
        with engine.begin() as own:
            own.execute(sqlalchemy.text("INSERT INTO effects (id, note) VALUES (1, 'x')"))
        raise ValueError("no")

    bench.run(handler)

    assert (effects(connection), ended(connection, id)["error_type"]) == (0, "ValueError")


def test_a_job_enqueued_on_ctx_connection_exists_with_the_completion(bench: Bench, connection: Connection) -> None:
    insert(connection, "t", count=2)

    def handler(ctx: JobContext) -> None:
        bench.app.tasks["t"].options(connection=ctx.connection, queue="next").enqueue()
        if ctx.id % 2:
            raise ValueError("no")

    bench.run(handler)
    bench.run(handler)

    assert number(connection, "SELECT count(*) FROM pgtask.jobs WHERE queue = 'next'") == 1


# Declaration


def test_what_cannot_be_transactional_is_refused_where_it_is_declared() -> None:
    app = PgTask()

    async def coroutine(ctx: JobContext) -> None: ...

    def without() -> None: ...

    with pytest.raises(TaskError, match="plain function"):
        app.task(transactional=True)(coroutine)
    with pytest.raises(TaskError, match="JobContext"):
        app.task(transactional=True)(without)
