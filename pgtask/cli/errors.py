"""The one place where errors become a line on stderr and an exit code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from pgtask.cli.context import State

DONE, FAILED, USAGE, NOT_FOUND, UNREACHABLE = range(5)
INTERRUPTED = 130
BROKEN_PIPE = 141


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
    # Imported here because all commands pay for what this module imports, and most of them succeed.
    import traceback

    from pgtask.cli.text import clean
    from pgtask.config import mask_secrets
    from pgtask.model.errors import PgTaskError

    if verbose:
        click.echo(mask_secrets("".join(traceback.format_exception(error))), err=True, nl=False)
    if isinstance(error, PgTaskError):
        click.echo(f"Error: {clean(mask_secrets(str(error)))}", err=True)
        return _code(error)
    message = clean(mask_secrets(f"{type(error).__name__}: {error}"))
    hint = "" if verbose else " Repeat it as: pgtask --verbose …"
    click.echo(f"Error: {message}. This should not happen.{hint}", err=True)
    return FAILED


def _code(error: Exception) -> int:
    from pgtask.model import errors

    match error:
        case errors.ConfigurationError() | errors.ScheduleError() | errors.SearchError() | errors.CursorError():
            return USAGE
        case (
            errors.JobNotFoundError()
            | errors.QueueNotFoundError()
            | errors.ScheduleNotFoundError()
            | errors.TaskNotFoundError()
            | errors.TokenNotFoundError()
            | errors.WorkerNotFoundError()
            | errors.ConsumerNotFoundError()
            | errors.WebhookNotFoundError()
            | errors.OperationNotFoundError()
        ):
            return NOT_FOUND
        case errors.DatabaseUnavailableError() | errors.EmbeddedServerError() | errors.ServerUnavailableError():
            return UNREACHABLE
        case _:
            return FAILED
