"""What each role may do: the statements of pgtask as a whole, and what is tried with SQL of one's own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import pytest
from psycopg import errors

from pgtask.database import connection as connections
from pgtask.database import ownership, partitions
from pgtask.database.declaring import declare
from pgtask.database.roles import Role
from pgtask.engine.scheduler import fire_due
from pgtask.model.schedule import Schedule
from tests.logins import Logins
from tests.rows import add_worker, insert, live, number
from tests.schedules import add, jobs, pass_time, ticks
from tests.support import eventually

Connection = psycopg.Connection[Any]

FILES = sorted((Path(__file__).resolve().parents[2] / "pgtask" / "database" / "sql").glob("*.sql"))
PLACEHOLDER = re.compile(r"%\((\w+)\)s")
MEMBERS = {"S": "stranger", "E": "enqueuer", "W": "worker", "R": "reader", "O": "operator", "V": "server"}

# Statements by who may run them. EXPLAIN asks for the same rights as doing it, except inside functions.
ALLOWED = {
    # A server may all that an operator or a worker may, and this.
    "V": """
        any_live_token claim_idempotency_key create_token find_token keep_answer
        list_audit list_tokens note_token_use read_idempotency_key read_token revoke_token take_requests write_audit
        enqueue_request write_enqueue_audit
    """,
    "SEWRO": """
        oldest_snapshot read_recovery
        begin_maintenance current_instant end_backends find_membership find_role limit_reading limit_waiting
        keep_to_index list_backends lock_migrations may_choose_ids may_read_jobs read_server_settings wal_position
        end_backend fence_executor follow_position inspect_grants inspect_horizon inspect_indexes inspect_sequences
        inspect_server inspect_settings inspect_tables limit_inspecting read_backend read_statement_timeout
        read_transaction_mark settle_in wait_briefly
    """,
    "EWRO": "find_live_among find_owner first_live_job list_partitions reserve_job_ids schema_version",
    "EW": """
        enqueue_job enqueue_jobs enqueue_or_find_requests enqueue_unique fill_jobs find_unique_job insert_file_job
    """,
    "EWO": "payload_limit size_exceeded",
    "W": """
        advance_schedules declare_schedule fire_ticks heed_clock note_declarations orphan_schedules
        count_queue expire_jobs
        enqueue_requests
        claim_keyed claim_lanes free_limits prune_limits repair_limits
        advance_lane bury_workers claim_jobs claim_suspects complete_jobs end_jobs end_worker fill_history free_jobs
        heartbeat lead open_gate pretend_to_run register_task register_worker resign roll_up write_logs write_progress
        repair_circuits report_outcomes
        add_totals lock_totals
        note_feed
        introduce_tasks note_claim note_holdings register_remote_worker take_holdings
    """,
    "WO": """
        cancel_bulk_operation audit_of_enqueues prune_api
        cancel_jobs count_default_runs lock_due_schedules prune_schedule_ticks
        add_partition drop_expired_partition lock_job_keys lock_jobs lock_spent_keys settle_keys
        prune_default_runs prune_logs prune_resolutions prune_stats prune_workers
        prune_worker_minutes
        advance_bulk_operation fail_bulk_operation prune_bulk_operations take_bulk_operation
        read_retention set_schedule stop_workers sweep_lanes
        set_task_rate inherit_task_rate lock_task lock_schedule bring_forward_jobs edit_job
        due_webhooks fail_webhook advance_webhook list_webhooks lock_webhook pause_webhook read_webhook_networks
        read_webhook_secret resume_webhook inspect_feed list_feed_consumers
    """,
    "O": """
        limit_queue
        create_bulk_operation
        create_queue delete_jobs delete_queue lock_queue pause_queues resume_queues retry_jobs set_queue
        delete_dead_letters resolve_jobs unresolve_jobs
        create_schedule delete_schedule pause_schedules resume_schedules run_schedule
        open_circuit close_circuit
        acknowledge_feed consume_feed delete_feed_consumer
        change_webhook create_webhook delete_webhook
    """,
    "WRO": """
        find_attempts_under_way find_completed_attempt find_latest_failures find_unknown_tasks follow_logs follow_runs
        count_tagged_jobs explain_job find_ended_jobs find_live_jobs find_ownerless find_run_attempts find_running_jobs
        find_latest_ended_jobs find_latest_unsuccessful_jobs find_oldest_ended_jobs find_oldest_live_jobs
        find_waiting_jobs list_logs_after list_runs_after
        find_unsuccessful_jobs known_queues largest_file_jobs list_logs list_queues list_runs list_tasks list_workers
        find_queues_of_jobs list_bulk_operations
        read_created read_duration_bounds read_totals use_of_workers
        find_payload_schemas
        read_job read_jobs read_pickup_times read_stats read_stats_timeline recent_deaths remaining_jobs
        most_at_once sum_completed_jobs sum_file_jobs
        find_uncounted_queues known_tasks
        find_held_jobs find_own_runs find_remote_worker
        find_schedule_jobs known_schedules list_schedules list_ticks next_due_schedule
        find_dead_letters find_oldest_dead_letters group_dead_letters read_aftermath read_dead_letter
        feed_position read_feed watch_jobs watch_queues
    """,
}
# COPY, LISTEN, SET, RESET, DISCARD, and what only an owner runs.
NOT_EXPLAINED = {
    *("begin_reading", "copy_jobs", "create_role", "create_schema", "listen", "revoke_membership", "revoke_rights"),
    *("discard_session", "mark_transaction", "reset_role", "set_locally"),
    *("grant_enqueuer", "grant_membership", "grant_operator", "grant_reader", "grant_server", "grant_worker"),
}
BY_FILE = {name: letters for letters, names in ALLOWED.items() for name in names.split()}


def allowed_to(letters: str) -> set[str]:
    """The members that these letters name."""
    return {MEMBERS[letter] for letter in letters} | ({"server"} if set(letters) & {"O", "W"} else set())


@pytest.fixture(scope="module")
def sessions(members: dict[str, str]) -> Iterator[dict[str, Connection]]:
    """A session of each member, which the many short tests share."""
    with ExitStack() as stack:
        yield {name: stack.enter_context(psycopg.connect(url, autocommit=True)) for name, url in members.items()}


def may(own: Connection, statement: str | bytes, arguments: dict[str, Any] | None = None) -> bool:
    """Whether a login may do this, which is then taken back."""
    with own.transaction(force_rollback=True):
        try:
            own.execute(statement if isinstance(statement, bytes) else statement.encode(), arguments)
        except errors.InsufficientPrivilege:
            return False
    return True


def test_every_statement_has_its_line() -> None:
    assert {file.stem for file in FILES} == set(BY_FILE) | NOT_EXPLAINED


@pytest.mark.parametrize("member", MEMBERS.values())
@pytest.mark.parametrize("name", BY_FILE)
def test_who_may_run_a_statement(name: str, member: str, sessions: dict[str, Connection]) -> None:
    text = next(file for file in FILES if file.stem == name).read_bytes()
    nothing = dict.fromkeys(PLACEHOLDER.findall(text.decode()))

    allowed = may(sessions[member], b"EXPLAIN " + text, nothing or None)

    assert allowed == (member in allowed_to(BY_FILE[name]))


# What SQL of one's own can do: a statement, and who may run it.
OWN_SQL: list[tuple[LiteralString, str]] = [
    ("INSERT INTO pgtask.jobs (task) VALUES ('t') RETURNING id", "EW"),
    (
        """INSERT INTO pgtask.jobs (task, payload, queue, priority, scheduled_at, max_retries, retry_strategy,
                                    retry_delay, max_retry_delay, timeout, unique_key, tags, traceparent)
           VALUES ('t', '{}', 'q', 2, now(), 1, 'fixed', 1, 1, 1, 'k', '{a}', 'x')""",
        "EW",
    ),
    ("INSERT INTO pgtask.jobs (task, unique_key) VALUES ('t', 'k') ON CONFLICT DO NOTHING", "EW"),
    ("COPY pgtask.jobs (task, payload) FROM '/dev/null'", ""),
    ("SELECT pgtask.enqueue('t', unique_key => 'k')", "EW"),
    ("SELECT pgtask.enqueue('t', '{\"a\": 1}', unique_by => '{a}', unique_scope => 'waiting')", "EW"),
    ("SELECT * FROM pgtask.enqueue_or_find('t', unique_key => 'k', on_conflict => 'replace')", "EW"),
    ("SELECT pgtask.take_key('k', 1, 'always', NULL)", ""),
    ("SELECT pgtask.payload_key('t', '{}', '{}')", ""),
    ("SELECT unique_key FROM pgtask.unique_keys", "WRO"),
    ("INSERT INTO pgtask.unique_keys (unique_key, job_id, scope) VALUES ('k', 1, 'always')", "W"),
    ("UPDATE pgtask.unique_keys SET expires_at = now()", "WO"),
    ("UPDATE pgtask.unique_keys SET job_id = 1", "W"),
    ("DELETE FROM pgtask.unique_keys", "WO"),
    *(
        (f"INSERT INTO pgtask.jobs (task, {column}) VALUES ('t', {value})", "W")
        for column, value in (
            ("unique_until", "now()"),
            ("scoped_key, unique_scope", "'k', 'always'"),
        )
    ),
    ("SELECT pgtask.unique_job('k')", "EW"),
    ("SELECT pgtask.payload_limit()", "EWO"),
    ("SELECT pgtask.size_exceeded('q', 1)", "EWO"),
    ("SELECT name FROM pgtask.sized_queues", "EWRO"),
    ("SELECT max_size FROM pgtask.queues", "WRO"),
    ("SELECT pgtask.count_queue('q')", "W"),
    ("SELECT pgtask.waiting_jobs('q', 1)", ""),
    ("SELECT pgtask.admit('q', 1)", ""),
    ("SELECT count(id) FROM pgtask.jobs", "EWRO"),
    ("SELECT version_num FROM pgtask.schema_version", "EWRO"),
    # What the server owns.
    *(
        (f"INSERT INTO pgtask.jobs (task, {column}) VALUES ('t', {value})", "W")
        for column, value in (
            ("id", "1"),
            ("status", "'running'"),
            ("attempt", "7"),
            ("retry_count", "-5"),
            ("crash_count", "0"),
            ("worker_id", "1"),
            ("executor", "1"),
            ("created_at", "now()"),
            ("started_at", "now()"),
            ("progress", "100"),
            ("progress_message", "'x'"),
            ("cancel_requested_at", "now()"),
            ("suspect", "true"),
        )
    ),
    ("INSERT INTO pgtask.jobs (id, task) OVERRIDING SYSTEM VALUE VALUES (1, 't')", "W"),
    ("INSERT INTO pgtask.jobs (task) VALUES ('t') RETURNING payload", "W"),
    ("INSERT INTO pgtask.jobs (task) VALUES ('t') ON CONFLICT (id) DO UPDATE SET status = 'running'", "W"),
    (
        """INSERT INTO pgtask.jobs (task, unique_key) VALUES ('t', 'k')
           ON CONFLICT (unique_key) WHERE unique_key IS NOT NULL DO UPDATE SET payload = '{}'""",
        "W",
    ),
    ("SELECT nextval('pgtask.jobs_id_seq')", "W"),
    ("SELECT setval('pgtask.jobs_id_seq', 1)", ""),
    ("SELECT setval('pgtask.idle_until', 0)", "W"),
    ("SELECT nextval('pgtask.idle_until')", "W"),
    # What others' jobs say.
    *(
        (f"SELECT {column} FROM pgtask.jobs", "WRO")
        for column in ("payload", "task", "queue", "unique_key", "tags", "status", "scheduled_at", "jobs", "ctid")
    ),
    ("SELECT id FROM pgtask.jobs WHERE unique_key = 'k'", "WRO"),
    ("SELECT id FROM pgtask.jobs ORDER BY priority", "WRO"),
    ("WITH new AS (INSERT INTO pgtask.jobs (task) VALUES ('t') RETURNING *) SELECT payload FROM new", "W"),
    ("SELECT payload FROM pgtask.all_jobs", "WRO"),
    ("SELECT queue FROM pgtask.lanes", "WRO"),
    ("SELECT error FROM pgtask.dead_letters", "WRO"),
    ("SELECT pgtask.resolve(1)", "O"),
    ("SELECT pgtask.unresolve(1)", "O"),
    ("SELECT pgtask.retry_jobs('{1}')", "O"),
    ("SELECT pgtask.copy_dead_letter(NULL)", "W"),
    ("SELECT payload, error FROM pgtask.runs", "WRO"),
    ("SELECT payload FROM pgtask.runs_default", "WO"),
    ("SELECT message FROM pgtask.job_logs", "WRO"),
    ("SELECT name FROM pgtask.tasks", "WRO"),
    ("SELECT name FROM pgtask.queues", "WRO"),
    ("SELECT host FROM pgtask.workers", "WRO"),
    ("SELECT value FROM pgtask.settings", "WO"),
    # What would hold others up or change what is there.
    ("SELECT id FROM pgtask.jobs FOR UPDATE", "WO"),
    ("SELECT id FROM pgtask.jobs FOR KEY SHARE", "WO"),
    ("SELECT id FROM pgtask.workers FOR UPDATE", "WO"),
    ("SELECT name FROM pgtask.queues FOR UPDATE", "O"),
    ("SELECT name FROM pgtask.leader FOR UPDATE", "W"),
    *(
        (f"LOCK TABLE pgtask.jobs IN {mode} MODE", letters)
        for mode, letters in (("ACCESS SHARE", "WRO"), ("ROW EXCLUSIVE", "WO"), ("ACCESS EXCLUSIVE", "WO"))
    ),
    ("UPDATE pgtask.jobs SET scheduled_at = now()", "WO"),
    ("UPDATE pgtask.jobs SET task = 't'", "W"),
    ("UPDATE pgtask.jobs SET cancel_requested_at = now()", "WO"),
    ("DELETE FROM pgtask.jobs", "WO"),
    ("TRUNCATE pgtask.jobs", ""),
    ("UPDATE pgtask.runs SET final = false", ""),
    ("DELETE FROM pgtask.runs", "O"),
    (
        """INSERT INTO pgtask.runs (job_id, outcome, priority, final, queue, task)
           VALUES (1, 'completed', 1, true, 'q', 't')""",
        "W",
    ),
    ("UPDATE pgtask.workers SET expires_at = now()", "W"),
    ("UPDATE pgtask.workers SET stopping_at = now()", "WO"),
    ("UPDATE pgtask.queues SET paused_at = now()", "O"),
    ("UPDATE pgtask.settings SET value = '1'", ""),
    ("UPDATE pgtask.schema_version SET version_num = '0000'", ""),
    ("SELECT pgtask.cancel(1)", "WO"),
    ("SELECT pgtask.schedule('s', '@hourly', 't')", "O"),
    ("SELECT pgtask.unschedule('s')", "O"),
    ("SELECT pgtask.pause_schedule('s')", "O"),
    ("SELECT pgtask.resume_schedule('s')", "O"),
    ("SELECT pgtask.run_schedule('s')", "O"),
    ("SELECT payload FROM pgtask.schedules", "WRO"),
    ("SELECT reason FROM pgtask.schedule_ticks", "WRO"),
    ("INSERT INTO pgtask.schedules (name, expression, task) VALUES ('s', '@hourly', 't')", "W"),
    ("INSERT INTO pgtask.schedule_ticks (schedule_id, tick_at, outcome) VALUES (1, now(), 'fired')", "W"),
    ("UPDATE pgtask.schedules SET payload = '{}'", "WO"),
    ("UPDATE pgtask.schedules SET source = 'code'", "W"),
    ("UPDATE pgtask.schedules SET due_after = '2001-01-01'", "W"),
    ("DELETE FROM pgtask.schedules", ""),
    ("DELETE FROM pgtask.schedule_ticks", "WO"),
    ("SELECT pgtask.retry(1)", "O"),
    ("SELECT * FROM pgtask.feed()", "WRO"),
    ("SELECT * FROM pgtask.read_feed('c')", "O"),
    ("SELECT pgtask.note_pruned(1, 1, 1)", "WO"),
    ("INSERT INTO pgtask.webhook_networks VALUES ('10.0.0.0/8')", ""),
    ("SELECT secret FROM pgtask.webhooks", "WO"),
    ("UPDATE pgtask.feed_consumers SET position = ''", ""),
    ("SELECT text FROM pgtask.explain(1)", "WRO"),
    ("SELECT pgtask.ageing_step(), pgtask.last_job_id()", "WRO"),
    ("SELECT pgtask.notify_rewind('q', 1::smallint, now())", "WO"),
    ("SELECT pgtask.drop_expired_partition()", "WO"),
    ("SELECT pgtask.add_partition('2001-01-01 00:00+00', '2001-01-02 00:00+00')", "WO"),
    ("SELECT digest FROM pgtask.tokens", "V"),
    ("UPDATE pgtask.tokens SET revoked_at = now()", "V"),
    ("UPDATE pgtask.tokens SET digest = ''", ""),
    ("UPDATE pgtask.tokens SET scopes = '{admin}'", ""),
    ("DELETE FROM pgtask.tokens", ""),
    ("SELECT actor FROM pgtask.audit", "V"),
    ("INSERT INTO pgtask.audit (actor, action) VALUES ('a', 'b')", "V"),
    ("UPDATE pgtask.audit SET actor = 'b'", ""),
    ("DELETE FROM pgtask.audit", ""),
    ("SELECT body FROM pgtask.idempotency_keys", "V"),
    ("DELETE FROM pgtask.idempotency_keys", ""),
    ("SELECT pgtask.prune_api(1)", "WO"),
    ("DROP TABLE pgtask.runs_default", ""),
    ("ALTER TABLE pgtask.jobs DISABLE TRIGGER jobs_notify", ""),
    ("ALTER TABLE pgtask.runs DETACH PARTITION pgtask.runs_default", ""),
    ("CREATE TABLE pgtask.mine (n integer)", ""),
    ("CREATE FUNCTION pgtask.mine() RETURNS integer LANGUAGE sql RETURN 1", ""),
    ("CREATE INDEX ON pgtask.jobs (task)", ""),
    ("CREATE TRIGGER mine AFTER INSERT ON pgtask.jobs EXECUTE FUNCTION pgtask.notify_enqueued()", ""),
]


@pytest.mark.parametrize("member", MEMBERS.values())
@pytest.mark.parametrize(("statement", "letters"), OWN_SQL)
def test_who_may_run_sql_of_their_own(
    statement: LiteralString, letters: str, member: str, sessions: dict[str, Connection]
) -> None:
    assert may(sessions[member], statement) == (member in allowed_to(letters))


# What an enqueuer may do must not hold up the others


def test_a_unique_key_held_open_keeps_no_job_from_being_run(
    logins: Logins, connection: Connection, make_work: Any
) -> None:
    ids = insert(connection, "t", count=3) + insert(connection, "t", unique_key="taken")
    work = make_work()
    with psycopg.connect(logins.make(Role.ENQUEUER)) as producer:
        producer.execute(
            "INSERT INTO pgtask.jobs (task, unique_key) SELECT 't', 'k' || n FROM generate_series(1, 100) n"
        )

        claimed = work.claim(10)

        assert [job.id for job in claimed] == ids
        assert work.complete(*((job.id, job.attempt) for job in claimed[:2])) == set(ids[:2])
        assert work.end(ids[2], 1)
        assert work.end(ids[3], 1, delay=0)


def test_queues_without_number_do_not_reach_a_worker_that_names_its_own(
    logins: Logins, connection: Connection, make_work: Any
) -> None:
    insert(connection, "t")
    with psycopg.connect(logins.make(Role.ENQUEUER), autocommit=True) as producer:
        producer.execute(
            "INSERT INTO pgtask.jobs (task, queue, priority) SELECT 't', 'q' || n, 100 FROM generate_series(1, 999) n"
        )

    lanes = make_work().connection.sweep(["default", "other"], ["t"])

    assert [(lane.queue, lane.priority) for lane in lanes] == [("default", 1)]


def test_a_right_to_see_the_lanes_shows_none_to_who_may_not_read_jobs(logins: Logins, connection: Connection) -> None:
    insert(connection, "t", queue="hidden")
    connection.execute("GRANT SELECT ON pgtask.lanes TO PUBLIC")

    with (
        psycopg.connect(logins.make(Role.ENQUEUER), autocommit=True) as producer,
        psycopg.connect(logins.make(Role.READER), autocommit=True) as reader,
    ):
        assert not may(producer, "SELECT queue FROM pgtask.lanes")
        assert may(reader, "SELECT queue FROM pgtask.lanes")


def test_the_name_of_a_key_is_not_told_by_its_conflict(logins: Logins, connection: Connection) -> None:
    insert(connection, "t", {"secret": "hidden"}, unique_key="hidden@example.org")

    with (
        psycopg.connect(logins.make(Role.ENQUEUER)) as producer,
        pytest.raises(errors.UniqueViolation) as caught,
    ):
        producer.execute("INSERT INTO pgtask.jobs (task, unique_key) VALUES ('t', 'hidden@example.org')")

    assert "hidden" not in str(caught.value)


def test_a_payload_cannot_be_smuggled_in_compressed(logins: Logins, connection: Connection) -> None:
    with psycopg.connect(logins.make(Role.ENQUEUER)) as producer:
        producer.execute("CREATE TEMPORARY TABLE stash (payload jsonb)")
        producer.execute("INSERT INTO stash SELECT jsonb_build_object('a', repeat('x', 1000000))")
        producer.execute("INSERT INTO pgtask.jobs (task, payload) SELECT 't', payload FROM stash")
        producer.commit()
        producer.execute("INSERT INTO stash SELECT jsonb_build_object('a', repeat('x', 20000000))")
        with pytest.raises(errors.CheckViolation, match="payload has 20000009 bytes"):
            producer.execute("INSERT INTO pgtask.jobs (task, payload) SELECT 't', payload FROM stash")

    assert number(connection, "SELECT max(octet_length(payload::text)) FROM pgtask.jobs") == 1000009


def test_an_enqueuer_wakes_workers_that_sleep(logins: Logins, connection: Connection) -> None:
    connection.execute("LISTEN pgtask")
    connection.execute("SELECT setval('pgtask.idle_until', 9000000000000000)")

    with psycopg.connect(logins.make(Role.ENQUEUER)) as producer:
        producer.execute("INSERT INTO pgtask.jobs (task) VALUES ('t')")

    assert [notice.payload for notice in connection.notifies(timeout=10, stop_after=1)] == ["enqueued"]


def test_functions_are_not_led_astray_by_a_callers_objects(logins: Logins, connection: Connection) -> None:
    with psycopg.connect(logins.make(Role.ENQUEUER), autocommit=True) as producer:
        producer.execute("CREATE TEMPORARY TABLE jobs (id bigint, unique_key text)")
        producer.execute("CREATE TEMPORARY TABLE settings (name text, value jsonb)")
        producer.execute("INSERT INTO settings VALUES ('max_payload_bytes', '1')")
        producer.execute("SET search_path = pg_temp, pgtask, public")
        assert producer.execute("SELECT pgtask.payload_limit()").fetchone() == (1048576,)
        row = producer.execute("SELECT pgtask.enqueue('t', unique_key => 'k')").fetchone()
        assert row is not None
        assert producer.execute("SELECT pgtask.unique_job('k')").fetchone() == row

    assert live(connection, row[0])["task"] == "t"


def test_an_executors_name_on_a_strangers_connection_does_no_harm(logins: Logins) -> None:
    """Nor can what was left behind be mistaken: it bears the name and the login."""
    name = "pgtask executor 1.1"
    worker = logins.make(Role.WORKER)
    with (
        connections.connect(logins.make(None), application_name=name) as stranger,
        connections.connect(worker, application_name=name) as left_behind,
        connections.connect(worker, application_name="undertaker") as own,
    ):
        assert ownership.end_backends(own, name) == 1
        eventually(lambda: ownership.end_backends(own, name) == 0)

        assert stranger.execute("SELECT 1").fetchone() == (1,)
        with pytest.raises(psycopg.OperationalError):
            left_behind.execute("SELECT 1")


# Schedules


def test_a_worker_may_all_that_schedules_need(logins: Logins, connection: Connection) -> None:
    id = add(connection, age=11, overlap="cancel_running")
    with connections.connect(logins.make(Role.WORKER), application_name="test") as own:
        fire_due(own)
        connection.execute("UPDATE pgtask.jobs SET status = 'running'")
        pass_time(connection, id, 10)
        fire_due(own)
        assert [tick.outcome for tick in ticks(connection, id)] == ["fired", "fired"]
        assert live(connection, jobs(connection, id)[0])["cancel_requested_at"] is not None
        given = Schedule(name="declared", expression="@daily", task="t")
        assert declare(own, add_worker(connection), "a:b", [given]) == []
    assert number(connection, "SELECT count(*) FROM pgtask.schedules WHERE source = 'code'") == 1


# Upkeep


def add_old_partition(connection: Connection) -> None:
    bounds = "FROM ('2001-01-01 00:00+00') TO ('2001-01-02 00:00+00')"
    connection.execute(f"CREATE TABLE pgtask.runs_old PARTITION OF pgtask.runs FOR VALUES {bounds}".encode())


@pytest.mark.parametrize("role", [Role.WORKER, Role.OPERATOR])
def test_partitions_are_kept_by_roles_that_do_not_own_them(role: Role, logins: Logins, connection: Connection) -> None:
    made = connection.execute("SELECT oid::regclass::text FROM pg_class WHERE relname ~ '^runs_2' AND relkind = 'r'")
    for (name,) in made.fetchall():
        connection.execute(f"DROP TABLE {name}".encode())
    add_old_partition(connection)
    connection.execute("INSERT INTO pgtask.job_logs VALUES (1, '2001-01-01', 1, 1, 'info', 'x')")
    connection.execute("INSERT INTO pgtask.stats_minute (minute, queue, task) VALUES ('2001-01-01', 'q', 't')")

    with connections.connect(logins.make(role), application_name="test") as own:
        done = partitions.maintain(own)

    assert (len(done.created), done.dropped, done.deleted_logs, done.deleted_stats) == (4, ["runs_old"], 1, 1)
    assert done.complete
    owners = "SELECT count(DISTINCT relowner) FROM pg_class WHERE relnamespace = 'pgtask'::regnamespace"
    assert number(connection, owners) == 1, "what a worker's upkeep makes belongs to the owner of the rest"


def test_only_what_is_past_its_retention_can_be_dropped(logins: Logins, connection: Connection) -> None:
    with connections.connect(logins.make(Role.WORKER), application_name="test") as own:
        assert own.execute("SELECT pgtask.drop_expired_partition()").fetchone() == (None,)
    connection.execute("DELETE FROM pgtask.settings WHERE name = 'retention_days'")
    add_old_partition(connection)
    assert connection.execute("SELECT pgtask.drop_expired_partition()").fetchone() == (None,), "kept for ever"


@pytest.mark.parametrize(
    ("begins_at", "ends_at"),
    [
        ("2001-01-01 12:00+00", "2001-01-02 12:00+00"),
        ("2001-01-01 00:00+00", "2001-01-03 00:00+00"),
        ("2001-01-02 00:00+00", "2001-01-01 00:00+00"),
        ("-infinity", "infinity"),
    ],
)
def test_only_days_and_weeks_become_partitions(begins_at: str, ends_at: str, connection: Connection) -> None:
    with pytest.raises((errors.InvalidParameterValue, errors.DatetimeFieldOverflow)):
        connection.execute("SELECT pgtask.add_partition(%s, %s)", [begins_at, ends_at])
