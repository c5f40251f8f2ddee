"""Where the files of a server for tests go."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgtask.testing import servers


@pytest.fixture
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The folder that passes for the one in memory."""
    monkeypatch.delenv("TMPDIR", raising=False)
    monkeypatch.setattr(servers, "MEMORY", tmp_path)
    monkeypatch.setattr(servers, "MEMORY_NEEDED", 1)
    return str(tmp_path)


def test_they_go_to_memory(memory: str) -> None:
    assert servers.folder() == memory


def test_they_do_not_when_there_is_too_little(memory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "MEMORY_NEEDED", 1 << 80)
    assert servers.folder() is None


def test_they_do_not_when_there_is_none(memory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "MEMORY", Path(memory, "missing"))
    assert servers.folder() is None


def test_they_go_where_the_user_wants_temporary_files(memory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", "/elsewhere")
    assert servers.folder() is None
