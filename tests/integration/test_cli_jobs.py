from __future__ import annotations

import itertools
import json
import re
import subprocess

import pytest

from pgtask.database import bulk, finding, listing
from pgtask.model.job_filter import JobFilter
from pgtask.model.status import JobStatus
from tests import rows
from tests.command_line import (
    add_run,
    answer,
    lines,
    on_terminal,
    raw_terminal,
    run,
    start,
)
from tests.reasons import reasons
from tests.rows import Connection, ago, insert

DANGEROUS = "\x1b[31mred\x1b[0m\x07 \u202edesrever\nnext\tline \x9b2J"


def fill(connection: Connection) -> dict[str, int]:
    """A job of each status, by its status; ids rise in the order of the statuses."""
    ids = {
        "pending": insert(connection, "echo", queue="a", tags=["vip"])[0],
        "scheduled": insert(connection, "echo", queue="a", scheduled_at=ago(-3600))[0],
        "retrying": insert(connection, "mail.send", queue="b", retry_count=1, attempt=1, scheduled_at=ago(-60))[0],
        "running": insert(connection, "mail.send", status="running", attempt=1, worker_id=1, started_at=ago(5))[0],
    }
    for status in ("completed", "failed", "cancelled", "quarantined"):
        ids[status] = 100 + len(ids)
        add_run(connection, ids[status], None, task="mail.read", error="first try")
        add_run(connection, ids[status], status, queue="b", task="mail.read", tags=["vip"])
    return ids


def listed(database: str, *arguments: str) -> list[int]:
    return [int(line[0]) for line in lines(run(database, "jobs", "list", *arguments))]


def test_an_empty_list_says_what_to_do(database: str) -> None:
    result = run(database, "jobs", "list")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "pgtask enqueue echo message=hi" in result.stderr
    assert answer(run(database, "jobs", "list", "--json")) == {"items": [], "next_cursor": None}
    assert run(database, "jobs", "list", "--queue", "x").stderr == "No jobs match.\n"


def test_jobs_are_listed_newest_first_live_or_ended(database: str, connection: Connection) -> None:
    ids = fill(connection)
    shown = lines(run(database, "jobs", "list"))
    assert [int(line[0]) for line in shown] == sorted(ids.values(), reverse=True)
    assert {line[1]: int(line[0]) for line in shown} == ids
    assert all(len(line) == 9 for line in shown)


def test_every_set_of_statuses_finds_its_jobs(connection: Connection) -> None:
    ids = fill(connection)
    for size in range(1, len(JobStatus) + 1):
        for statuses in itertools.combinations(JobStatus, size):
            page = listing.list_jobs(connection, JobFilter(statuses=frozenset(statuses)))
            assert {job.id for job in page.jobs} == {ids[status] for status in statuses}, statuses
            assert all(job.status in statuses for job in page.jobs)


@pytest.mark.parametrize(
    ("arguments", "statuses"),
    [
        (["--status", "failed"], ["failed"]),
        (["--status", "failed,running", "-s", "Pending"], ["failed", "running", "pending"]),
        (["--queue", "a"], ["pending", "scheduled"]),
        (["--task", "mail.send"], ["retrying", "running"]),
        (["--task", "mail.*", "--queue", "b", "--status", "retrying,failed"], ["retrying", "failed"]),
        (["--task", "*e*o"], ["pending", "scheduled"]),
        (["--task", "mail_send"], []),
        (["--task", "%"], []),
        (["--tag", "vip", "--status", "completed,pending"], ["completed", "pending"]),
        (["--tag", "vi"], []),
    ],
)
def test_filters(database: str, connection: Connection, arguments: list[str], statuses: list[str]) -> None:
    ids = fill(connection)
    assert set(listed(database, *arguments)) == {ids[status] for status in statuses}


@pytest.mark.parametrize(
    ("arguments", "statuses"),
    [
        (["status:failed,running"], ["failed", "running"]),
        (["queue:a", "--status", "pending"], ["pending"]),
        (["queue:a -tag:vip"], ["scheduled"]),
        (["task:mail.*", "-s", "failed,cancelled", "--sort=-finished"], ["failed", "cancelled"]),
        (["worker:1"], ["running"]),
        (["--sort=scheduled"], ["pending", "retrying", "scheduled"]),
        (["--sort=created", "-s", "failed,pending"], ["pending", "failed"]),
    ],
)
def test_searches(database: str, connection: Connection, arguments: list[str], statuses: list[str]) -> None:
    ids = fill(connection)
    found = listed(database, *arguments)
    assert set(found) == {ids[status] for status in statuses}
    if arguments[0] in ("--sort=scheduled", "--sort=created"):
        assert found == [ids[status] for status in statuses]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nonsense"], "write task:nonsense"),
        (["queue:a", "--queue", "b"], "queue is given twice"),
        (["--sort=scheduled", "status:failed"], "Only jobs that wait"),
        (["--sort=created", "--before", "7"], "use --cursor"),
        (["--cursor", "x"], "This cursor is of another list"),
    ],
)
def test_a_search_that_makes_no_sense_is_refused(database: str, arguments: list[str], words: str) -> None:
    result = run(database, "jobs", "list", *arguments)
    assert result.exit_code == 2
    assert words in " ".join(result.stderr.split())


def test_actions_take_searches(database: str, connection: Connection) -> None:
    ids = fill(connection)
    assert run(database, "jobs", "cancel", "queue:a -tag:vip", "--yes").exit_code == 0
    assert rows.final(connection, ids["scheduled"]) is not None
    assert rows.job(connection, ids["pending"]) is not None
    assert run(database, "jobs", "retry", "id:105", "--yes").exit_code == 0
    assert rows.job(connection, 105) is not None
    assert run(database, "jobs", "cancel", "7", "queue:a", "--yes").exit_code == 2


def test_pages_follow_one_another_without_gap_or_repeat(database: str, connection: Connection) -> None:
    live = insert(connection, "echo", count=7)
    for id in range(101, 108):
        add_run(connection, id, "failed" if id % 2 else "completed")
    everything = [*range(107, 100, -1), *reversed(live)]
    seen: list[int] = []
    cursor: list[str] = []
    while True:
        page = answer(run(database, "jobs", "list", "--limit", "4", "--json", *cursor))
        seen += [job["id"] for job in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = ["--cursor", page["next_cursor"]]
    assert seen == everything


def test_json_is_what_the_api_answers(database: str, connection: Connection) -> None:
    payload = {"to": "ü", "n": 2**70, "evil": DANGEROUS}
    (id,) = insert(connection, "echo", payload)
    result = run(database, "jobs", "list", "--json")
    (job,) = answer(result)["items"]
    assert list(job)[:4] == ["id", "task", "type", "queue"]
    assert (job["id"], job["type"], job["payload"]) == (id, "echo", payload)
    assert job["created_at"].endswith("Z")
    assert all(line.isprintable() for line in result.stdout.splitlines())


def test_what_jobs_carry_cannot_steer_the_terminal(database: str, connection: Connection) -> None:
    (id,) = insert(connection, DANGEROUS, {DANGEROUS: DANGEROUS}, queue=DANGEROUS, tags=[DANGEROUS])
    errors = {"error": DANGEROUS, "error_type": DANGEROUS, "traceback": DANGEROUS}
    add_run(connection, 500, "failed", task=DANGEROUS, **errors)
    connection.execute(
        "INSERT INTO pgtask.job_logs (job_id, attempt, line, level, message) VALUES (500, 1, 1, %s, %s)",
        [DANGEROUS, DANGEROUS],
    )
    for arguments in (
        ["jobs", "list"],
        ["jobs", "show", str(id)],
        ["jobs", "show", "500"],
        ["queues", "list"],
        ["stats"],
    ):
        for text in (
            run(database, *arguments).stdout.replace("\t", ""),
            on_terminal(database, *arguments, columns=200),
            run(database, *arguments, "--json").stdout,
        ):
            assert "desrever" in text, arguments
            assert all(line.isprintable() for line in text.split("\n")), arguments


def test_a_table_fits_the_terminal_and_keeps_ids_whole(database: str, connection: Connection) -> None:
    connection.execute("ALTER TABLE pgtask.jobs ALTER id RESTART 9007199254740993")
    insert(connection, "a.very.long.task.name.that.does.not.fit", queue="and.a.long.queue.name.too")
    add_run(connection, 5, "failed", error="no such file: " + "x" * 300)
    shown = on_terminal(database, "jobs", "list", columns=72).splitlines()
    assert all(len(line) <= 72 for line in shown)
    assert shown[0].split() == ["ID", "STATUS", "TASK", "QUEUE", "TRY", "WHEN", "NOTE"]
    assert shown[1].startswith("9007199254740993  pending")
    assert "…" in shown[1]


def test_colours_come_only_where_they_are_wanted(database: str, connection: Connection) -> None:
    add_run(connection, 5, "failed")
    assert "\x1b[1;31mfailed" in raw_terminal(database, "jobs", "list")
    for environment, arguments in (({"NO_COLOR": "1"}, ["list"]), ({"TERM": "dumb"}, ["show", "5"])):
        shown = raw_terminal(database, "jobs", *arguments, environment=environment)
        assert "failed" in shown
        assert not re.search(r"\x1b\[[0-9;]*3\d", shown)
    assert "\x1b" not in run(database, "jobs", "list").stdout


def test_show_tells_all_about_an_ended_job(database: str, connection: Connection) -> None:
    add_run(connection, 5, None, error_type="TimeoutError", error="slow", attempt=1, started_at=ago(90))
    add_run(connection, 5, "failed", error_type="ValueError", error="bad\nvalue", traceback="File x\n  boom", attempt=2)
    connection.execute(
        "INSERT INTO pgtask.job_logs (job_id, attempt, line, level, message) VALUES (5, 2, 1, 'info', 'hello')"
    )
    shown = on_terminal(database, "jobs", "show", "5")
    for part in (
        "Job 5  failed",
        "Put it back: pgtask jobs retry 5",
        "→ pgtask jobs explain 5",
        "TimeoutError: slow",
        "ValueError: bad",
        "boom",
        "hello",
    ):
        assert part in shown
    found = answer(run(database, "jobs", "show", "5", "--json"))
    assert [run["error"] for run in found["runs"]] == ["slow", "bad\nvalue"]
    assert [line["message"] for line in found["logs"]] == ["hello"]
    assert [reason["code"] for reason in found["explanation"]] == [
        *("failed", "ran_more_than_once", "attempt", "attempt"),
    ]
    assert found["status"] == "failed"
    plain = lines(run(database, "jobs", "show", "5"))
    assert ["status", "failed"] in plain
    assert [line[:3] for line in plain if line[0] == "run"] == [["run", "1", "failed"], ["run", "2", "failed"]]


def test_show_tells_what_an_attempt_used_where_that_is_known(database: str, connection: Connection) -> None:
    add_run(connection, 5, None, attempt=1, started_at=ago(90))
    assert "CPU" not in on_terminal(database, "jobs", "show", "5")
    add_run(connection, 5, attempt=2, cpu_seconds=1.25, peak_rss_bytes=52_428_800)
    shown = on_terminal(database, "jobs", "show", "5")
    assert re.search(r"TOOK +CPU +PEAK MEMORY", shown)
    assert re.search(r"2  completed .* 1\.2 s +52 MB", shown)
    used = [
        (run["cpu_seconds"], run["peak_rss_bytes"])
        for run in answer(run(database, "jobs", "show", "5", "--json"))["runs"]
    ]
    assert used == [(None, None), (1.25, 52_428_800)]
    plain = [line for line in lines(run(database, "jobs", "show", "5")) if line[0] == "run"]
    assert [line[6:8] for line in plain] == [["", ""], ["1.25", "52428800"]]


def test_show_tells_the_whole_of_the_last_error(database: str, connection: Connection) -> None:
    add_run(
        connection, 5, "quarantined", outcome="crashed", error_type="ProcessDied", error="died: " + "x" * 90, attempt=3
    )
    shown = on_terminal(database, "jobs", "show", "5")
    assert f"Last error, try 3\n  ProcessDied: died: {'x' * 90}\n" in shown
    traceback = "Traceback (most recent call last):\nValueError: bad\nvalue"
    add_run(connection, 6, "failed", error_type="ValueError", error="bad\nvalue", traceback=traceback)
    assert on_terminal(database, "jobs", "show", "6").count("bad\n  value") == 1


@pytest.mark.parametrize(
    ("status", "outcome", "counted", "allowed", "said"),
    [
        ("failed", "failed", 3, None, "2"),
        ("failed", "timeout", 1, 0, "0 of 0"),
        ("quarantined", "crashed", 3, 5, "2 of 5"),
        ("completed", "completed", 2, 5, "2 of 5"),
        ("cancelled", "cancelled", 2, -1, "2 without limit"),
    ],
)
def test_show_counts_retries_and_not_the_failure_after_the_last(
    database: str, connection: Connection, status: str, outcome: str, counted: int, allowed: int | None, said: str
) -> None:
    add_run(connection, 5, status, outcome=outcome, retry_count=counted, max_retries=allowed)
    assert re.search(rf"^Retries +{said}$", on_terminal(database, "jobs", "show", "5"), re.MULTILINE)


def test_explain_and_show_say_what_the_database_says(database: str, connection: Connection) -> None:
    (id,) = insert(connection, "echo", queue="mail")
    connection.execute("INSERT INTO pgtask.queues (name, paused_at, paused_by) VALUES ('mail', now(), 'dana')")
    told = [(reason.code, reason.blocking, reason.details.keys()) for reason in reasons(connection, id)]
    assert [code for code, _, _ in told] == ["queue_paused", "no_worker", "next"]

    page = answer(run(database, "jobs", "explain", str(id), "--json"))
    assert [(item["code"], item["blocking"], item["details"].keys()) for item in page["items"]] == told
    assert page["next_cursor"] is None
    shown = answer(run(database, "jobs", "show", str(id), "--json"))["explanation"]
    assert [item["position"] for item in shown] == [1, 2, 3]
    plain = lines(run(database, "jobs", "explain", str(id)))
    assert [line[:2] for line in plain] == [["1", "queue_paused"], ["2", "no_worker"], ["3", "next"]]
    assert [line[2] for line in plain] == ["blocking", "blocking", ""]
    assert plain[1][3] == "No worker is alive. Start one: pgtask worker"
    assert ["explanation", "no_worker", plain[1][3]] in lines(run(database, "jobs", "show", str(id)))


def test_explain_is_wrapped_on_a_terminal_but_for_commands(database: str, connection: Connection) -> None:
    queue = "a-queue-with-a-rather-long-name"
    (id,) = insert(connection, "echo", queue=queue)
    connection.execute("INSERT INTO pgtask.queues (name, paused_at, paused_by) VALUES (%s, now(), 'dana')", [queue])

    shown = on_terminal(database, "jobs", "explain", str(id), columns=60).splitlines()

    assert shown[0].startswith(f"Queue {queue} has been paused for")
    assert shown[-4:] == [
        f"pgtask queues resume {queue}",
        "✗ No worker is alive. Start one: pgtask worker",
        "· It is the first in line of queue",
        f"  {queue}.",
    ]
    assert all(len(line) <= 60 for line in shown)
    top = on_terminal(database, "jobs", "show", str(id), columns=60)
    assert f"→ pgtask jobs explain {id}\n" in top


def test_explain_shows_nothing_dangerous(database: str, connection: Connection) -> None:
    (id,) = insert(connection, "echo", queue=DANGEROUS)
    for command in ("explain", "show"):
        shown = on_terminal(database, "jobs", command, str(id))
        assert "\x07" not in shown
        assert "\u202e" not in shown


def test_explain_of_a_job_that_nobody_knows(database: str, connection: Connection) -> None:
    result = run(database, "jobs", "explain", "5")
    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr == "Error: There is no job 5, and there never was one.\n"
    (id,) = insert(connection, "echo")
    connection.execute("DELETE FROM pgtask.jobs")
    assert "its id was given out once" in run(database, "jobs", "explain", str(id)).stderr
    result = run(database, "jobs", "explain", str(id), "--json")
    assert result.exit_code == 3
    (item,) = json.loads(result.stdout)["items"]
    assert item["code"] == "not_found"


def test_an_unknown_job_is_not_found(database: str) -> None:
    result = run(database, "jobs", "show", "42")
    assert result.exit_code == 3
    assert result.stderr == "Error: There is no job 42: it was deleted, or its history has been pruned.\n"


def test_cancel_by_id_answers_for_each_job(database: str, connection: Connection) -> None:
    ids = fill(connection)
    wanted = [str(ids[status]) for status in ("pending", "running", "cancelled")]
    result = run(database, "jobs", "cancel", *wanted)
    assert result.exit_code == 0
    assert sorted(result.stdout.splitlines()) == sorted(
        [f"{wanted[0]}\tcancelled\t", f"{wanted[1]}\trequested\t", f"{wanted[2]}\tcancelled\t"]
    )
    assert rows.statuses(connection, [ids["pending"]]) == {ids["pending"]: "cancelled"}

    assert run(database, "jobs", "cancel", str(ids["completed"])).exit_code == 1
    result = run(database, "jobs", "cancel", str(ids["completed"]), "4242", "--json")
    assert result.exit_code == 3
    assert json.loads(result.stdout)["items"] == [
        {"id": ids["completed"], "answer": "completed", "detail": None},
        {"id": 4242, "answer": None, "detail": None},
    ]


def test_retry_by_id_answers_for_each_job(database: str, connection: Connection) -> None:
    ids = fill(connection)
    result = run(database, "jobs", "retry", str(ids["failed"]), str(ids["quarantined"]))
    assert result.exit_code == 0
    assert rows.live(connection, ids["failed"])["status"] == "pending"
    for status, said in (("completed", "completed"), ("pending", "active")):
        result = run(database, "jobs", "retry", str(ids[status]))
        assert (result.exit_code, result.stdout) == (1, f"{ids[status]}\t{said}\t\n")


def test_a_job_whose_key_is_held_does_not_stop_the_others_from_being_retried(
    database: str, connection: Connection
) -> None:
    (holder,) = insert(connection, "echo", unique_key="k")
    add_run(connection, 101, "failed", unique_key="k")
    add_run(connection, 102, "failed")
    answers = bulk.retry_jobs(connection, [101, 102])
    assert [(found.id, found.answer) for found in answers] == [(101, "held"), (102, "pending")]
    assert f"job {holder} holds its unique key" in str(answers[0].detail)
    assert "Job 101 cannot be retried" in on_terminal(database, "jobs", "retry", "101")


def test_delete_takes_runs_and_logs_along_and_leaves_running_jobs(database: str, connection: Connection) -> None:
    ids = fill(connection)
    connection.execute(
        "INSERT INTO pgtask.job_logs (job_id, attempt, line, level, message) VALUES (%s, 1, 1, 'info', '')",
        [ids["failed"]],
    )
    wanted = [str(ids[status]) for status in ("failed", "pending")]
    refused = run(database, "jobs", "delete", *wanted)
    assert refused.exit_code == 2
    assert "Delete 2 jobs? There is no terminal to ask on: add --yes." in refused.stderr
    result = run(database, "jobs", "delete", *wanted, str(ids["running"]), "--yes")
    assert result.exit_code == 1
    assert [line.split("\t")[1] for line in result.stdout.splitlines()] == ["deleted", "deleted", "running"]
    assert rows.statuses(connection, list(ids.values())).keys() == set(ids.values()) - {
        ids["failed"],
        ids["pending"],
    }
    assert rows.number(connection, "SELECT count(*) FROM pgtask.runs WHERE job_id = %s", [ids["failed"]]) == 0
    assert rows.number(connection, "SELECT count(*) FROM pgtask.job_logs") == 0


def test_acting_on_a_filter_previews_and_asks(database: str, connection: Connection) -> None:
    insert(connection, "echo", queue="a", count=1200)
    insert(connection, "echo", queue="b", count=3)
    assert "1,200 jobs match. Cancel them? There is no" in run(database, "jobs", "cancel", "--queue", "a").stderr
    shown = on_terminal(database, "jobs", "cancel", "--queue", "a", stdin="n\n")
    assert "Nothing was changed." in shown
    assert rows.number(connection, "SELECT count(*) FROM pgtask.jobs") == 1203

    result = run(database, "jobs", "cancel", "--queue", "a", "--yes", "--json")
    assert answer(result) == {"matched": 1200, "answers": {"cancelled": 1200}}
    assert rows.number(connection, "SELECT count(*) FROM pgtask.jobs") == 3

    assert lines(run(database, "jobs", "retry", "--queue", "a", "--yes")) == []
    result = run(database, "jobs", "retry", "--queue", "a", "--status", "cancelled", "-y")
    assert lines(result) == [["pending", "1200"]]
    assert "3 cancelled." in on_terminal(database, "jobs", "cancel", "-q", "b", stdin="y\n")


def test_acting_needs_either_ids_or_a_filter(database: str) -> None:
    for arguments in ([], ["1", "--queue", "a"]):
        result = run(database, "jobs", "cancel", *arguments)
        assert result.exit_code == 2
        assert "Say which jobs to cancel" in result.stderr


def test_a_filter_spares_jobs_that_came_after_the_preview(connection: Connection) -> None:
    insert(connection, "echo", count=3)
    matching = listing.count_jobs(connection, JobFilter(queue="default"))
    insert(connection, "echo", count=2)
    found = list(listing.batches(connection, JobFilter(queue="default"), matching.newest, size=2))
    assert [len(batch) for batch in found] == [2, 1]


def test_counts_stop_at_their_cap(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    insert(connection, "echo", count=11)
    monkeypatch.setattr(listing, "COUNT_CAP", 10)
    assert listing.count_jobs(connection, JobFilter(queue="default"))[:2] == (10, False)


def test_a_reader_that_goes_away_is_no_error(database: str, connection: Connection) -> None:
    insert(connection, "t" * 200, tags=["x" * 2000], count=500)
    pipe = subprocess.PIPE
    with start(database, "jobs", "list", "-n", "500", stdout=pipe, stderr=pipe) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait() == 141


def test_a_failed_list_uses_its_own_index_in_a_long_history(connection: Connection) -> None:
    connection.execute(
        """
        INSERT INTO pgtask.runs (job_id, finished_at, started_at, claims, outcome, status, priority, final, queue, task)
        SELECT n, now(), now(), 1, 'completed', (CASE WHEN n % 1000 = 0 THEN 'failed' ELSE 'completed' END)
               ::pgtask.job_status, 1, true, 'default', 'echo'
          FROM generate_series(1, 20000) n
        """
    )
    connection.execute("ANALYZE pgtask.runs")
    values = finding.arguments(JobFilter()) | {"before": None, "statuses": ["failed"], "limit": 51}
    plan = connection.execute(b"EXPLAIN " + finding._FIND_UNSUCCESSFUL, values, prepare=False).fetchall()
    text = "\n".join(line for (line,) in plan)
    assert "finished_at_job_id_idx" in text
    assert not re.search("Seq Scan.*rows=[1-9]{2}", text)


def test_a_search_that_takes_too_long_is_stopped(
    database: str, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pgtask.database.reading.READ_TIMEOUT", 0.05)
    monkeypatch.setattr(finding, "_FIND_LIVE", b"SELECT 1 FROM pg_sleep(5) WHERE %(limit)s::int4 IS NOT NULL")
    result = run(database, "jobs", "list")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: This took longer than 0.05 s and was stopped. Ask for less")


@pytest.mark.parametrize("payload", [{}, {"list": list(range(100))}, {"deep": {"a": [None, True, 1.5]}}])
def test_payloads_of_any_kind_are_shown(database: str, connection: Connection, payload: dict[str, object]) -> None:
    (id,) = insert(connection, "echo", payload)
    shown = on_terminal(database, "jobs", "show", str(id))
    assert ("more lines: use --json" in shown) == ("list" in payload)
    assert answer(run(database, "jobs", "show", str(id), "--json"))["payload"] == payload
