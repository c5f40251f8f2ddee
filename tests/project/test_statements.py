"""Every statement parses against the migrated schema, and reads like the others."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import psycopg
import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "pgtask" / "database" / "sql").glob("*.sql"))
PLACEHOLDER = re.compile(r"%\((\w+)\)s(::\w+)?")

# What EXPLAIN does not take, and why.
UNEXPLAINABLE = {
    "begin_reading": "SET TRANSACTION",
    "copy_jobs": "COPY",
    "create_role": "DDL, with a name filled in",
    "create_schema": "DDL",
    "grant_enqueuer": "DO, with a name filled in",
    "grant_membership": "GRANT, with names filled in",
    "grant_operator": "DO, with a name filled in",
    "grant_reader": "DO, with a name filled in",
    "grant_server": "DO, with a name filled in",
    "grant_worker": "DO, with a name filled in",
    "listen": "LISTEN",
    "discard_session": "DISCARD",
    "set_locally": "SET, with names filled in",
    "mark_transaction": "SET, with a value filled in",
    "reset_role": "RESET",
    "revoke_membership": "REVOKE, with names filled in",
    "revoke_rights": "DO, with a name filled in",
}

TABLES = (
    "jobs|runs|job_logs|tasks|queues|workers|leader|settings|stats_minute|all_jobs|lanes"
    "|schedules|schedule_ticks|declarations|unique_keys|dead_letters|resolutions"
)
UNQUALIFIED = re.compile(rf"\b(?:FROM|JOIN|INTO|UPDATE)\s+(?:{TABLES})\b")

every_statement = pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)


def _code(file: Path) -> str:
    return re.sub(r"--.*", "", file.read_text())


@every_statement
def test_a_statement_can_be_planned(file: Path, reader: psycopg.Connection) -> None:
    text = file.read_bytes()
    nothing = {match[1]: None for match in PLACEHOLDER.finditer(text.decode())}

    def explain() -> None:
        reader.execute(b"EXPLAIN " + text, nothing or None)

    if file.stem in UNEXPLAINABLE:
        with pytest.raises(psycopg.errors.SyntaxError):
            explain()
    else:
        explain()


@every_statement
def test_every_placeholder_has_a_type(file: Path) -> None:
    assert [m[0] for m in PLACEHOLDER.finditer(_code(file)) if m[2] is None] == []


@every_statement
def test_a_file_begins_by_saying_what_it_does(file: Path) -> None:
    assert re.match(r"-- \S.*\n", file.read_text())


@every_statement
def test_a_file_holds_one_statement(file: Path) -> None:
    code = re.sub(r"'(?:[^']|'')*'", "", _code(file))
    code = re.sub(r"\$\$.*?\$\$", "", code, flags=re.DOTALL)

    assert code.strip().rstrip(";").count(";") == 0


@every_statement
def test_a_file_names_its_tables_with_their_schema_and_columns(file: Path) -> None:
    assert UNQUALIFIED.findall(_code(file)) == []
    assert re.findall(r"\bSELECT\s+\*|\bRETURNING\s+\*", _code(file)) == []


def test_every_file_is_used() -> None:
    modules = [*(ROOT / "pgtask").rglob("*.py"), *(ROOT / "migrations").rglob("*.py")]
    loaded = {
        argument.value
        for module in modules
        for call in ast.walk(ast.parse(module.read_text()))
        if isinstance(call, ast.Call) and ast.unparse(call.func).endswith("load")
        for argument in call.args
        if isinstance(argument, ast.Constant)
    }
    assert {file.stem for file in FILES} - loaded == set()


def test_the_list_of_exceptions_is_no_longer_than_needed() -> None:
    assert set(UNEXPLAINABLE) - {file.stem for file in FILES} == set()
