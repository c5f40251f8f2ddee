"""`pgtask webhooks`: where events are sent to."""

from __future__ import annotations

import click

from pgtask.cli import completion
from pgtask.cli.context import database, note, operations, settings
from pgtask.cli.errors import DONE, FAILED
from pgtask.cli.output import Column, json_option, on_terminal, print_fields, print_json, print_plain, print_table
from pgtask.cli.text import brief, clean, instant, seconds_since
from pgtask.model.serialise import page_as_json, record_as_json
from pgtask.model.webhook import STATUSES, Delivery, WebhookRecord
from pgtask.model.wording import DASH, plural

name_argument = click.argument("name")


def state(webhook: WebhookRecord) -> str:
    """Whether a webhook is active, failing or paused."""
    if webhook.paused_at is not None:
        return "paused"
    return "failing" if webhook.failures else "active"


def _behind(webhook: WebhookRecord) -> str:
    return brief(seconds_since(webhook.next_event_at)) if webhook.next_event_at else DASH


COLUMNS: tuple[Column[WebhookRecord], ...] = (
    Column(title="WEBHOOK", show=lambda webhook: webhook.name, shrinks=True),
    Column(title="STATE", show=state, style=lambda webhook: "" if state(webhook) == "active" else "yellow"),
    Column(title="BEHIND", show=_behind, plain=lambda webhook: instant(webhook.next_event_at), right=True),
    Column(title="URL", show=lambda webhook: webhook.url, shrinks=True),
    Column(title="LAST ERROR", show=lambda webhook: webhook.last_error or "", shrinks=True, wide=True),
)


@click.group()
def webhooks() -> None:
    """Send events to other services, signed and in order."""


@webhooks.command()
@name_argument
@click.argument("url")
@click.option(
    "--status",
    "statuses",
    multiple=True,
    type=click.Choice(STATUSES),
    metavar="STATUS",
    help="Send only jobs that then stand so; repeatable.",
)
@click.option(
    "--task",
    "tasks",
    multiple=True,
    metavar="TASK",
    shell_complete=completion.task_names,
    help="Send only this task's; repeatable.",
)
@click.option(
    "-q",
    "--queue",
    "queues",
    multiple=True,
    metavar="QUEUE",
    shell_complete=completion.queue_names,
    help="Send only this queue's; repeatable.",
)
@json_option
def add(name: str, url: str, json_output: bool, **filters: tuple[str, ...]) -> None:
    """Send what happens from now on to a URL.

    Prints the secret that signs the messages, once.
    """
    with operations() as doing:
        secret, made = doing.create_webhook(name, url, **{key: values or None for key, values in filters.items()})
    if json_output:
        print_json(record_as_json(made) | {"secret": secret})
    elif on_terminal():
        click.echo(clean(f"Webhook {name}: added. Its secret, which is not shown again: {secret}"))
    else:
        print_plain(name, secret)


@webhooks.command("list")
@json_option
def list_webhooks(json_output: bool) -> None:
    """List webhooks with how far they are behind.

    In a pipe the columns are: name, state, time of the next event, URL, last error.
    """
    with operations() as doing:
        found = doing.list_webhooks()
    if json_output:
        print_json(page_as_json([record_as_json(webhook) for webhook in found]))
    else:
        print_table(found, COLUMNS, empty="No webhooks. Add one: pgtask webhooks add NAME URL")


@webhooks.command()
@name_argument
@json_option
def show(name: str, json_output: bool) -> None:
    """Show a webhook."""
    with operations() as doing:
        webhook = doing.read_webhook(name)
    if json_output:
        print_json(record_as_json(webhook))
        return
    paused = f" ({webhook.paused_reason})" if webhook.paused_at and webhook.paused_reason else ""
    fields = [
        ("URL", webhook.url),
        ("State", state(webhook) + paused),
        ("Statuses", _listed(webhook.statuses)),
        ("Tasks", _listed(webhook.tasks)),
        ("Queues", _listed(webhook.queues)),
        ("Behind", _behind(webhook)),
        ("Last status", DASH if webhook.last_status is None else str(webhook.last_status)),
    ]
    if webhook.failures:
        fields.append(("Failed", f"{plural(webhook.failures, 'time')} since {instant(webhook.first_failed_at)}"))
    print_fields([*fields, *([("Last error", webhook.last_error)] if webhook.last_error else [])])


@webhooks.command()
@name_argument
@json_option
def pause(name: str, json_output: bool) -> None:
    """Send nothing more until it is resumed."""
    with operations() as doing:
        _tell(doing.pause_webhook(name), json_output, "paused")


@webhooks.command()
@name_argument
@json_option
def resume(name: str, json_output: bool) -> None:
    """Go on where it was, at once."""
    with operations() as doing:
        _tell(doing.resume_webhook(name), json_output, "resumed")


@webhooks.command()
@name_argument
@json_option
def delete(name: str, json_output: bool) -> None:
    """Delete a webhook."""
    with operations() as doing:
        doing.delete_webhook(name)
    if json_output:
        print_json({"name": name, "deleted": True})
    else:
        _say(name, "deleted")


@webhooks.command()
@name_argument
@json_option
def test(name: str, json_output: bool) -> int:
    """Send a message of type test now.

    Over REST the server sends it, else this machine; the others are sent by the leading worker, which may be let
    through where this machine is not.
    """
    delivery = _try_out(name)
    if json_output:
        print_json({"delivered": delivery.error is None, "status": delivery.status, "error": delivery.error})
    elif delivery.error is None:
        _say(name, f"answered {delivery.status}")
    else:
        note(clean(f"Webhook {name}: {delivery.error}"))
    return DONE if delivery.error is None else FAILED


def _try_out(name: str) -> Delivery:
    given = settings()
    if given.url is not None:
        from pgtask.client import Client

        with Client(given.url, given.token) as client:
            return client.test_webhook(name)
    from pgtask.database.pool import Pool
    from pgtask.engine.webhooks import try_out

    with database(given) as url:
        pool = Pool(url, pooled=given.pooled, name="pgtask webhooks test", max_size=1)
        try:
            return try_out(pool, name)
        finally:
            pool.close()


def _tell(webhook: WebhookRecord, json_output: bool, done: str) -> None:
    if json_output:
        print_json(record_as_json(webhook))
    else:
        _say(webhook.name, done)


def _say(name: str, done: str) -> None:
    if on_terminal():
        click.echo(clean(f"Webhook {name}: {done}."))
    else:
        print_plain(name, done)


def _listed(values: list[str] | None) -> str:
    return "all" if values is None else ", ".join(values)
