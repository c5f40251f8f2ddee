"""What the command line does the API does, and the other way round; what only one of them does has its reason here."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest

from pgtask.cli.main import main
from tests.api_client import Api, document

TWINS = {
    "enqueue": {"enqueue_job", "enqueue_jobs"},
    "jobs list": {"list_jobs"},
    "jobs show": {"get_job", "list_job_runs", "list_job_logs", "get_job_aftermath"},
    "jobs explain": {"explain_job"},
    "jobs edit": {"edit_job"},
    "jobs run-now": {"run_job_now"},
    "jobs cancel": {"cancel_job", "cancel_jobs", "create_bulk_operation"},
    "jobs retry": {"retry_job", "retry_jobs", "create_bulk_operation"},
    "jobs delete": {"delete_job", "delete_jobs", "create_bulk_operation"},
    "jobs tail": {"stream_events"},
    "dead list": {"list_dead_letters"},
    "dead show": {"get_job"},
    "dead stats": {"group_dead_letters"},
    "dead retry": {"retry_dead_letters", "create_bulk_operation"},
    "dead resolve": {"resolve_dead_letters", "create_bulk_operation"},
    "dead unresolve": {"unresolve_dead_letters"},
    "dead delete": {"delete_dead_letters", "create_bulk_operation"},
    "bulk list": {"list_bulk_operations"},
    "bulk show": {"get_bulk_operation"},
    "bulk watch": {"get_bulk_operation"},
    "bulk cancel": {"cancel_bulk_operation"},
    "queues list": {"list_queues"},
    "queues create": {"create_queue"},
    "queues set": {"change_queue", "replace_queue"},
    "queues pause": {"pause_queue"},
    "queues resume": {"resume_queue"},
    "queues stats": {"get_queue", "get_queue_stats"},
    "queues delete": {"delete_queue"},
    "schedules list": {"list_schedules"},
    "schedules add": {"create_schedule"},
    "schedules set": {"change_schedule", "replace_schedule"},
    "schedules show": {"get_schedule", "list_schedule_ticks"},
    "schedules preview": {"preview_schedule", "preview_expression"},
    "schedules pause": {"pause_schedule"},
    "schedules resume": {"resume_schedule"},
    "schedules run": {"run_schedule"},
    "schedules delete": {"delete_schedule"},
    "tasks list": {"list_task_types", "get_task_type"},
    "tasks set": {"set_task_rate", "inherit_task_rate"},
    "tasks open": {"open_task_circuit"},
    "tasks close": {"close_task_circuit"},
    "workers list": {"list_workers"},
    "workers show": {"get_worker"},
    "workers stop": {"stop_worker"},
    "stats": {"get_stats"},
    "top": {"get_overview"},
    "tokens create": {"create_token"},
    "tokens list": {"list_tokens", "get_token"},
    "tokens revoke": {"revoke_token"},
    "audit list": {"list_audit"},
    "events": {"stream_events"},
    "webhooks list": {"list_webhooks"},
    "webhooks show": {"get_webhook"},
    "webhooks add": {"create_webhook"},
    "webhooks delete": {"delete_webhook"},
    "webhooks pause": {"pause_webhook"},
    "webhooks resume": {"resume_webhook"},
    "webhooks test": {"test_webhook"},
}
"""Commands, and the operations that do the same."""

_PROCESS = "starts a process, or talks to one, on this machine"
_DATABASE = "is about the database itself, for who may log in there"
CLI_ONLY = {
    **dict.fromkeys(("dev", "demo", "worker", "scheduler", "server", "bench"), _PROCESS),
    **dict.fromkeys(("db start", "db stop", "db psql"), _PROCESS),
    **dict.fromkeys(("db grant", "db migrate", "db revoke", "db status", "doctor"), _DATABASE),
    "config show": "shows the settings of the machine that it runs on",
    "completion": "prints a script for a shell",
    **dict.fromkeys(("feed list", "feed drop"), "is about cursors of those who read events by SQL"),
}
"""Commands without an operation, and why."""

_HTTP_WORKER = "part of the protocol of workers over HTTP; others speak to PostgreSQL"
_WATCHED = "for monitors; without a server there is `pgtask doctor`, `stats` and a worker's --metrics-port"
REST_ONLY = {
    **dict.fromkeys(("register_worker", "send_heartbeat", "fetch_jobs", "deregister_worker"), _HTTP_WORKER),
    **dict.fromkeys(("complete_job", "complete_jobs", "fail_job", "snooze_job", "release_job"), _HTTP_WORKER),
    "report_progress": _HTTP_WORKER,
    "get_metrics": _WATCHED,
    "change_webhook": "on the command line one is deleted and added again",
    "preview_bulk_operation": "what commands ask before they begin",
    "get_me": "tells a token what it may do; on the command line one is who one logs in as",
}
"""Operations without a command, and why."""


def commands(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[str]:
    """The commands of a tree, by the words that call them."""
    if not isinstance(command, click.Group):
        yield " ".join(path)
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        found = command.get_command(context, name)
        assert found is not None
        yield from commands(found, (*path, name))


def operations(api: Api) -> set[str]:
    """The ids of all operations but those that are others under another path."""
    return {
        operation["operationId"]
        for path, methods in document(api.app)["paths"].items()
        for operation in methods.values()
        if not path.startswith("/api/v1/tasks")
    }


def test_every_command_has_its_twin_or_its_reason() -> None:
    assert set(commands(main)) == TWINS.keys() | CLI_ONLY.keys()


def test_every_operation_has_its_twin_or_its_reason(refusing_api: Api) -> None:
    twins = set().union(*TWINS.values())

    assert operations(refusing_api) == twins | REST_ONLY.keys()


def test_nothing_is_both_a_twin_and_alone() -> None:
    assert not TWINS.keys() & CLI_ONLY.keys()
    assert not set().union(*TWINS.values()) & REST_ONLY.keys()


RENAMED = {
    ("workers list", "everything"): "ended_within",
    ("workers stop", "ids"): "id",
    ("workers show", "worker_id"): "id",
    ("schedules preview", "name_or_expression"): "expression",
    **{(f"schedules {command}", "name"): "id" for command in ("set", "show", "run", "delete")},
    **{(f"schedules {command}", "names"): "id" for command in ("pause", "resume")},
    **{(f"queues {command}", "names"): "name" for command in ("pause", "resume")},
}
"""What is called otherwise in operations."""

OF_TERMINALS = {("top", "interval"), ("top", "once")}


def find(command: click.Command, words: list[str]) -> click.Command:
    """The command that some words call."""
    for word in words:
        assert isinstance(command, click.Group)
        found = command.get_command(click.Context(command), word)
        assert found is not None
        command = found
    return command


def inputs(api: Api, ids: set[str]) -> set[str]:
    """The names of all that some operations take: in the path, in the query, in the body."""
    made = document(api.app)
    names: set[str] = set()
    for operation in (found for methods in made["paths"].values() for found in methods.values()):
        if operation["operationId"] in ids:
            names |= {parameter["name"] for parameter in operation.get("parameters", ())}
            if "requestBody" in operation:
                reference = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
                names |= made["components"]["schemas"][reference.rpartition("/")[2]]["properties"].keys()
    return names


@pytest.mark.parametrize(
    "command",
    [name for name in TWINS if name.split()[0] in {"queues", "schedules", "tasks", "workers", "stats", "top"}],
)
def test_every_option_of_a_command_is_an_input_of_its_twin(refusing_api: Api, command: str) -> None:
    options = {option.name for option in find(main, command.split()).params} - {"json_output"}
    wanted = {
        RENAMED.get((command, name), name)
        for name in options
        if name is not None and (command, name) not in OF_TERMINALS
    }

    assert wanted <= inputs(refusing_api, TWINS[command])
