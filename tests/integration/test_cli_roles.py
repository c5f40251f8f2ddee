"""`pgtask db grant` and `revoke`."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from psycopg import sql

from pgtask.database import migrations, roles
from pgtask.database.roles import Role
from pgtask.model.errors import PgTaskError
from tests.command_line import answer, lines, on_terminal, run
from tests.logins import Logins


def has_rights(database: str, name: str) -> bool:
    with psycopg.connect(database) as connection:
        row = connection.execute(
            "SELECT has_schema_privilege(%(role)s, 'pgtask', 'USAGE') "
            "OR has_any_column_privilege(%(role)s, 'pgtask.jobs', 'INSERT, SELECT')",
            {"role": name},
        ).fetchone()
    return row == (True,)


def belongs(database: str, login: str, role: str) -> bool:
    with psycopg.connect(database) as connection:
        return connection.execute("SELECT pg_has_role(%s, %s, 'USAGE')", [login, role]).fetchone() == (True,)


def test_the_roles_are_called_as_documented() -> None:
    assert [roles.database_name(role) for role in Role] == [
        "pgtask_enqueuer",
        "pgtask_worker",
        "pgtask_reader",
        "pgtask_operator",
        "pgtask_server",
    ]


def test_all_roles_are_made_once_and_nobody_can_log_in_as_one(database: str, logins: Logins) -> None:
    names = [f"{logins.prefix}{role}" for role in Role]

    assert lines(run(database, "db", "grant")) == [[name, "created"] for name in names]
    assert lines(run(database, "db", "grant")) == [[name, "granted"] for name in names]

    with psycopg.connect(database) as connection:
        attributes = connection.execute(
            "SELECT DISTINCT rolcanlogin, rolsuper, rolcreaterole, rolcreatedb FROM pg_roles WHERE rolname = ANY (%s)",
            [names],
        ).fetchall()
    assert attributes == [(False, False, False, False)]
    assert all(has_rights(database, name) for name in names)


def test_a_login_is_made_a_member_and_taken_out_again(database: str, logins: Logins) -> None:
    login, role = logins.name(), f"{logins.prefix}enqueuer"
    granted = {"role": role, "created": True, "granted_to": [login]}

    assert answer(run(database, "db", "grant", "enqueuer", "--to", login, "--json"))["items"] == [granted]
    again = answer(run(database, "db", "grant", "enqueuer", "--to", login, "--json"))["items"]
    assert again == [granted | {"created": False}]
    assert belongs(database, login, role)
    assert logins.roles() == ["enqueuer", "login_1"], "only the role asked for is made"

    revoked = answer(run(database, "db", "revoke", "enqueuer", "--from", login, "--json"))["items"]
    assert revoked == [{"role": role, "revoked_from": [login]}]
    assert not belongs(database, login, role)
    assert has_rights(database, role)


def test_rights_are_taken_back_as_a_whole(database: str, logins: Logins) -> None:
    run(database, "db", "grant")

    assert lines(run(database, "db", "revoke")) == [[f"{logins.prefix}{role}", "revoked"] for role in Role]

    assert not any(has_rights(database, f"{logins.prefix}{role}") for role in Role)
    with psycopg.connect(database) as connection:
        for role in Role:
            # Refused as long as it has a right anywhere.
            connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(f"{logins.prefix}{role}")))


def test_a_person_reads_sentences(database: str, logins: Logins) -> None:
    login = logins.name()

    shown = on_terminal(database, "db", "grant", "reader", "--to", login)

    assert f"{logins.prefix}reader created and given its rights in this database." in shown
    assert f"{login} is a member of {logins.prefix}reader." in shown
    assert f"taken back from {login}." in on_terminal(database, "db", "revoke", "reader", "--from", login)
    assert "has no rights in this database any more" in on_terminal(database, "db", "revoke", "reader")


def test_rights_that_are_too_many_are_taken_back_and_missing_ones_given(database: str, logins: Logins) -> None:
    login = logins.make(Role.ENQUEUER)
    role = sql.Identifier(f"{logins.prefix}enqueuer")
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(sql.SQL("GRANT SELECT (payload), INSERT (status) ON pgtask.jobs TO {}").format(role))
        connection.execute(sql.SQL("GRANT SELECT, UPDATE ON pgtask.runs, pgtask.settings TO {}").format(role))
        connection.execute(sql.SQL("GRANT ALL ON ALL FUNCTIONS IN SCHEMA pgtask TO {}").format(role))
        connection.execute(sql.SQL("REVOKE EXECUTE ON FUNCTION pgtask.enqueue FROM {}").format(role))

        assert run(database, "db", "grant").exit_code == 0

    with psycopg.connect(login, autocommit=True) as own:
        assert own.execute("SELECT pgtask.enqueue('t')").rowcount == 1
        for statement in (
            "SELECT payload FROM pgtask.jobs",
            "INSERT INTO pgtask.jobs (task, status) VALUES ('t', 'running')",
            "SELECT final FROM pgtask.runs",
            "UPDATE pgtask.settings SET value = '1'",
            "SELECT pgtask.cancel(1)",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                own.execute(statement.encode())


def test_many_at_once_do_it_once(database: str, logins: Logins) -> None:
    login = logins.name()
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: roles.grant(database, list(Role), [login]), range(6)))

    for position in range(len(Role)):
        assert sorted(answer[position].created for answer in answers) == [False] * 5 + [True]
    assert all(belongs(database, login, f"{logins.prefix}{role}") for role in Role)


def test_databases_of_one_cluster_share_the_roles(database: str, empty_database: str, logins: Logins) -> None:
    login = logins.name()
    migrations.migrate(empty_database)
    with ThreadPoolExecutor(2) as pool:
        work = lambda url: roles.grant(url, list(Role), [login])  # noqa: E731
        list(pool.map(work, [database, empty_database] * 3))

    assert all(has_rights(url, f"{logins.prefix}worker") for url in (database, empty_database))
    roles.revoke(empty_database, list(Role))
    assert has_rights(database, f"{logins.prefix}worker")
    assert not has_rights(empty_database, f"{logins.prefix}worker")


def complaint(database: str, *arguments: str, code: int = 1) -> str:
    result = run(database, "db", *arguments)
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.stderr
    return result.stderr


def test_a_login_that_is_not_there_is_named_and_nothing_is_done(database: str, logins: Logins) -> None:
    error = complaint(database, "grant", "worker", "--to", "no one")

    assert error == "Error: There is no database role 'no one'. Create it first: CREATE ROLE no one LOGIN\n"
    assert logins.roles() == []
    assert "There is no database role 'none'" in complaint(database, "revoke", "worker", "--from", "none")


def test_a_member_without_a_role_is_a_usage_error(database: str) -> None:
    assert "pgtask db grant ROLE --to LOGIN" in complaint(database, "grant", "--to", "x", code=2)
    assert "pgtask db revoke ROLE --from LOGIN" in complaint(database, "revoke", "--from", "x", code=2)
    assert "'boss' is not one of" in complaint(database, "grant", "boss", code=2)


def test_a_missing_schema_is_told(empty_database: str) -> None:
    assert "no pgtask schema: run pgtask db migrate" in complaint(empty_database, "grant")


def test_only_the_owner_gives_rights(database: str, logins: Logins) -> None:
    with psycopg.connect(database) as connection:
        owner = connection.info.user
    reader = logins.make(Role.READER)

    for command in ("grant", "revoke"):
        assert complaint(reader, command) == (
            f"Error: Only the owner of pgtask's tables may give rights on them: run this as {owner}.\n"
        )
    assert "may not read the pgtask schema" in complaint(logins.make(None), "grant")


@pytest.fixture
def owner(empty_database: str, logins: Logins) -> str:
    """A database as a login sees it that owns the schema and may do nothing else."""
    name = logins.name()
    with psycopg.connect(empty_database) as admin:
        admin.execute(sql.SQL("CREATE SCHEMA pgtask AUTHORIZATION {}").format(sql.Identifier(name)))
    url = psycopg.conninfo.make_conninfo(empty_database, user=name, password="not secret")
    migrations.migrate(url)
    return url


def test_an_owner_who_may_not_create_roles_is_told_what_to_ask_for(
    owner: str, empty_database: str, logins: Logins
) -> None:
    name = f"{logins.prefix}enqueuer"

    error = complaint(owner, "grant", "enqueuer")

    assert error.startswith(f"Error: This login may not create the role {name}: give it CREATEROLE, or have an admin")
    with psycopg.connect(empty_database, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(sql.Identifier(name)))
        assert lines(run(owner, "db", "grant", "enqueuer")) == [[name, "granted"]]
        assert has_rights(empty_database, name)
        login = logins.name()
        assert f"may not change who is a member of {name}" in complaint(owner, "grant", "enqueuer", "--to", login)
        admin.execute(sql.SQL("REVOKE ALL ON SCHEMA pgtask FROM {}").format(sql.Identifier(name)))
        admin.execute(sql.SQL("DROP OWNED BY {} CASCADE").format(sql.Identifier(name)))
        admin.execute(sql.SQL("DROP OWNED BY {} CASCADE").format(sql.Identifier(f"{logins.prefix}login_1")))


def test_a_membership_that_another_gave_is_not_reported_as_taken(
    database: str, logins: Logins, connection: psycopg.Connection
) -> None:
    if connection.info.server_version < 160000:
        pytest.skip("memberships have no givers before PostgreSQL 16")
    roles.grant(database, [Role.READER])
    role, giver, login = sql.Identifier(f"{logins.prefix}reader"), sql.Identifier(logins.name()), logins.name()
    connection.execute(sql.SQL("GRANT {} TO {} WITH ADMIN OPTION").format(role, giver))
    connection.execute(sql.SQL("GRANT {} TO {} GRANTED BY {}").format(role, sql.Identifier(login), giver))

    with pytest.raises(PgTaskError, match=f"Another role has made {login} a member"):
        roles.revoke(database, [Role.READER], [login])
    connection.execute(sql.SQL("REVOKE {} FROM {} CASCADE").format(role, giver))


def test_no_function_is_open_to_all(database: str, logins: Logins) -> None:
    query = """
        SELECT proname FROM pg_proc
         WHERE pronamespace = 'pgtask'::regnamespace AND has_function_privilege(%s, oid, 'EXECUTE')
    """
    with psycopg.connect(database) as connection:
        assert connection.execute(query, [logins.name()]).fetchall() == []
