"""The command `pgtask`: its tree, of which only the branch in use is imported."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import click

from pgtask.cli import errors
from pgtask.cli.context import State


class Branch(NamedTuple):
    """Where a command is defined, and what it is for."""

    module: str
    attribute: str
    help: str


# By the headings under which `pgtask --help` lists them.
TREE: Mapping[str, Mapping[str, Branch]] = {
    "Start": {
        "dev": Branch("dev", "dev", "Run everything that development needs, in one terminal."),
        "demo": Branch("demo", "demo", "See pgtask at work on real files."),
        "worker": Branch("worker", "worker", "Run jobs."),
        "server": Branch("server", "server", "Serve the REST API."),
        "scheduler": Branch("scheduler", "scheduler", "Fire schedules where no worker does."),
        "db": Branch("db", "db", "Migrate the schema; give rights; run the embedded PostgreSQL."),
    },
    "Jobs": {
        "enqueue": Branch("enqueue", "enqueue", "Enqueue a job."),
        "jobs": Branch("jobs", "jobs", "List, show, follow, cancel, retry and delete jobs."),
        "events": Branch("events", "events", "Print each attempt that ends, none skipped."),
        "dead": Branch("dead", "dead", "List, retry, resolve and delete jobs that failed for good."),
        "bulk": Branch("bulk", "bulk", "List, watch and cancel actions on many jobs."),
        "schedules": Branch("schedules", "schedules", "List, add, preview, pause and run schedules."),
    },
    "Operate": {
        "queues": Branch("queues", "queues", "List, change, pause and resume queues."),
        "workers": Branch("workers", "workers", "List, show and stop workers."),
        "tasks": Branch("tasks", "tasks", "List the tasks that workers have registered."),
        "feed": Branch("events", "feed", "List and drop named consumers of events."),
        "webhooks": Branch("webhooks", "webhooks", "Send events to other services, signed and in order."),
        "top": Branch("top", "top", "Watch queues, workers and jobs live."),
        "stats": Branch("stats", "stats", "Throughput, errors and times of the last hour."),
        "tokens": Branch("tokens", "tokens", "Make, list and revoke tokens of the API."),
        "audit": Branch("audit", "audit", "Show who changed what through the API."),
        "doctor": Branch("doctor", "doctor", "Check server, schema and fleet, and say what to do."),
        "config": Branch("config", "config", "Show the settings in force."),
        "bench": Branch("bench", "bench", "Measure this machine and database."),
        "completion": Branch("completion", "completion", "Print the script that completes commands in a shell."),
    },
}
LOCAL = frozenset({"dev", "demo", "worker", "scheduler", "server", "db", "doctor", "bench", "feed"})
"""Commands that need the database itself, or are processes beside it."""

BRANCHES = {name: branch for branches in TREE.values() for name, branch in branches.items()}


class Main(click.Group):
    """The root: imports a subcommand when it is called, and lets no error out as a traceback."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """The names in the order of the help."""
        return list(BRANCHES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """The subcommand, imported now."""
        branch = BRANCHES.get(cmd_name)
        if branch is None:
            return None
        command = getattr(importlib.import_module(f"pgtask.cli.{branch.module}"), branch.attribute)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with a guess at what was meant by an unknown name."""
        if args[0] not in BRANCHES and not args[0].startswith("-"):
            import difflib

            close = difflib.get_close_matches(args[0], BRANCHES, 1)
            hint = f" Did you mean '{close[0]}'?" if close else ""
            raise click.UsageError(f"There is no command '{args[0]}'.{hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Lists the subcommands without importing them."""
        width = max(map(len, BRANCHES))
        for heading, branches in TREE.items():
            with formatter.section(heading):
                formatter.write_dl([(name.ljust(width), branch.help) for name, branch in branches.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the subcommand; a reader of the output that has gone away is no error."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            # What is still buffered has nowhere to go either, and Python would complain at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(errors.BROKEN_PIPE)
        return result

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Runs the command line and, unless `standalone_mode` is off, exits with its code."""
        state = extra.setdefault("obj", State())

        def run() -> Any:
            return super(Main, self).main(args, prog_name or "pgtask", complete_var, standalone_mode=False, **extra)

        if not standalone_mode:
            return run()
        sys.exit(errors.guard(run, state))


@click.group(cls=Main, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--database-url",
    metavar="URL",
    help="PostgreSQL to use (PGTASK_DATABASE_URL); else an embedded one in .pgtask/.",
)
@click.option("--url", metavar="URL", help="Server of pgtask to use instead of a database (PGTASK_URL).")
@click.option("--token", metavar="TOKEN", help="Token for that server; better in PGTASK_TOKEN.")
@click.option("--verbose", is_flag=True, help="Show the traceback of an error.")
@click.version_option(package_name="pgtask", message="pgtask %(version)s")
@click.pass_context
def main(ctx: click.Context, database_url: str | None, url: str | None, token: str | None, verbose: bool) -> None:
    """A job queue in PostgreSQL.

    Exit codes: 0 done, 1 failed, 2 usage, 3 not found, 4 database or server unreachable.
    """
    if database_url is not None and url is not None:
        raise click.UsageError("Give --database-url or --url, not both.")
    state = ctx.ensure_object(State)
    state.database_url, state.url, state.token = database_url, url, token
    state.local = ctx.invoked_subcommand if ctx.invoked_subcommand in LOCAL else None
    state.verbose = verbose
