"""Whoever opens a connection says whether it may lie behind a transaction pooler."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Those that need a session, and do not serve behind a pooler.
NEED_A_SESSION = {
    "pgtask/benchmark/latency.py": "the floor of a benchmark",
    "pgtask/database/measuring.py": "a benchmark holds snapshots and sets what the planner may do",
    "pgtask/database/notifications.py": "LISTEN",
    "pgtask/database/roles.py": "an owner grants rights once and directly",
    "pgtask/database/scratch.py": "makes and drops databases, which no pooler knows",
    "pgtask/database/transaction.py": "executors refuse transactional tasks behind a pooler",
    "pgtask/testing/servers.py": "a test has its database to itself",
    "pgtask/testing/worker.py": "a test has its database to itself",
}

MODULES = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "pgtask").rglob("*.py"))


def _unsaid(module: str) -> list[int]:
    """The lines where a connection is opened without a word on poolers."""
    return [
        call.lineno
        for call in ast.walk(ast.parse((ROOT / module).read_text()))
        if isinstance(call, ast.Call)
        and ast.unparse(call.func).rpartition(".")[2] in {"connect", "Pool", "WorkConnection"}
        for names in [{keyword.arg for keyword in call.keywords}]
        if (names & {"application_name"} or not ast.unparse(call.func).endswith("connect")) and "pooled" not in names
    ]


@pytest.mark.parametrize("module", MODULES)
def test_a_connection_is_opened_with_a_word_on_poolers(module: str) -> None:
    assert bool(_unsaid(module)) == (module in NEED_A_SESSION)
