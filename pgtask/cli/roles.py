"""`pgtask db grant` and `revoke`: what database roles may do."""

from __future__ import annotations

import click

from pgtask.cli.context import database, note, settings
from pgtask.cli.output import json_option, on_terminal, print_json, print_plain
from pgtask.database import roles
from pgtask.database.roles import Role
from pgtask.model.serialise import page_as_json

role_argument = click.argument(
    "role", type=click.Choice([role.value for role in Role]), metavar="[ROLE]", required=False
)


@click.command()
@role_argument
@click.option("--to", "logins", metavar="LOGIN", multiple=True, help="Make this login a member; repeatable.")
@json_option
def grant(role: str | None, logins: tuple[str, ...], json_output: bool) -> None:
    """Give database roles their rights.

    ROLE is enqueuer, worker, reader, operator or server. Makes it, or all five without ROLE, as pgtask_enqueuer
    and so on, and gives them exactly the rights they need in this database. Repeat it after a migration.
    """
    if logins and role is None:
        raise click.UsageError("Say which role to give: pgtask db grant ROLE --to LOGIN")
    with database(settings()) as url:
        granted = roles.grant(url, _chosen(role), logins)
    if json_output:
        items = [{"role": name, "created": created, "granted_to": list(logins)} for name, created in granted]
        print_json(page_as_json(items))
        return
    for name, created in granted:
        if on_terminal():
            click.echo(f"{name} {'created and ' if created else ''}given its rights in this database.")
        else:
            print_plain(name, "created" if created else "granted")
    for login in logins if on_terminal() else ():
        click.echo(f"{login} is a member of {granted[0].role}.")
    if not logins:
        note("Make a login a member: pgtask db grant enqueuer --to LOGIN")


@click.command()
@role_argument
@click.option("--from", "logins", metavar="LOGIN", multiple=True, help="Take this login out of ROLE; repeatable.")
@json_option
def revoke(role: str | None, logins: tuple[str, ...], json_output: bool) -> None:
    """Take rights back.

    With --from, LOGIN is no longer a member of ROLE, in any database. Without it, ROLE, or each of
    the five, loses all its rights in this database; the roles themselves stay.
    """
    if logins and role is None:
        raise click.UsageError("Say which role to take back: pgtask db revoke ROLE --from LOGIN")
    with database(settings()) as url:
        revoked = roles.revoke(url, _chosen(role), logins)
    if json_output:
        print_json(page_as_json([{"role": name, "revoked_from": list(logins)} for name in revoked]))
        return
    for name in revoked:
        if not on_terminal():
            print_plain(name, "revoked")
        elif logins:
            click.echo(f"{name} taken back from {', '.join(logins)}.")
        else:
            click.echo(f"{name} has no rights in this database any more.")
    if not revoked:
        note("There are no such roles. Make them: pgtask db grant")


def _chosen(role: str | None) -> list[Role]:
    return list(Role) if role is None else [Role(role)]
