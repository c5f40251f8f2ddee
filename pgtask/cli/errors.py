"""The one place where errors become a line on stderr and an exit code."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

import click

from pgtask.cli.context import State
from pgtask.cli.text import clean
from pgtask.config import mask_secrets
from pgtask.model.errors import (
    ConfigurationError,
    DatabaseUnavailableError,
    EmbeddedServerError,
    JobNotFoundError,
    PgTaskError,
)
from pgtask.model.fleet import WorkerNotFoundError
from pgtask.model.queue import QueueNotFoundError

DONE, FAILED, USAGE, NOT_FOUND, UNREACHABLE = range(5)
INTERRUPTED = 130
BROKEN_PIPE = 141

_CODES: dict[type[PgTaskError], int] = {
    ConfigurationError: USAGE,
    JobNotFoundError: NOT_FOUND,
    QueueNotFoundError: NOT_FOUND,
    WorkerNotFoundError: NOT_FOUND,
    DatabaseUnavailableError: UNREACHABLE,
    EmbeddedServerError: UNREACHABLE,
}


def guard(run: Callable[[], Any], state: State) -> int:
    """The exit code of `run`, which returns one or None, or raises."""
    try:
        code = run()
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted.", err=True)
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001  every error ends here
        return _report(error, state.verbose)
    return code if isinstance(code, int) else DONE


def _report(error: Exception, verbose: bool) -> int:
    if verbose:
        click.echo(mask_secrets("".join(traceback.format_exception(error))), err=True, nl=False)
    if isinstance(error, PgTaskError):
        click.echo(f"Error: {clean(mask_secrets(str(error)))}", err=True)
        return next((code for kind, code in _CODES.items() if isinstance(error, kind)), FAILED)
    message = clean(mask_secrets(f"{type(error).__name__}: {error}"))
    hint = "" if verbose else " Repeat it as: pgtask --verbose …"
    click.echo(f"Error: {message}. This should not happen.{hint}", err=True)
    return FAILED
