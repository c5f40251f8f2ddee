"""What is said to systemd, to whom and how often."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pgtask.engine.systemd import Systemd

_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has abstract names")


@pytest.fixture(params=["path", pytest.param("abstract", marks=_LINUX)])
def manager(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The service manager's end, at a path or under an abstract name of Linux."""
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    monkeypatch.delenv("WATCHDOG_USEC", raising=False)
    monkeypatch.chdir(tmp_path)
    address = "notify" if request.param == "path" else f"@pgtask-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.bind(address.replace("@", "\0"))
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        yield end


def heard(manager: socket.socket) -> list[str]:
    """The messages up to now."""
    Systemd().say(END="1")
    messages = []
    while (message := manager.recv(4096).decode()) != "END=1":
        messages.append(message)
    return messages


def test_what_is_said_arrives_in_one_message(manager: socket.socket) -> None:
    Systemd().say(READY="1", STATUS="It serves.")

    assert heard(manager) == ["READY=1\nSTATUS=It serves."]


@pytest.mark.parametrize("pid", [None, str(os.getpid())])
def test_the_watchdog_is_fed_no_more_often_than_it_needs(
    pid: str | None, manager: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "3600000000")
    if pid:
        monkeypatch.setenv("WATCHDOG_PID", pid)
    systemd = Systemd()

    for _ in range(3):
        systemd.feed()

    assert heard(manager) == ["WATCHDOG=1"]


@pytest.mark.parametrize("variables", [{}, {"WATCHDOG_USEC": "1", "WATCHDOG_PID": "1"}])
def test_no_watchdog_or_that_of_another_process_is_not_fed(
    variables: dict[str, str], manager: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    Systemd().feed()

    assert heard(manager) == []


def test_without_a_service_manager_nothing_is_said(manager: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as without:
        without.delenv("NOTIFY_SOCKET")
        Systemd().say(READY="1")

    assert heard(manager) == []
