"""`pgtask top`: queues, workers and jobs, live on a terminal."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import click

from pgtask.cli import parameters
from pgtask.cli.context import operations, way
from pgtask.cli.errors import DONE
from pgtask.cli.job_actions import CANCEL, RETRY, sentence
from pgtask.cli.output import json_option, on_terminal, print_json, print_plain
from pgtask.cli.top_sections import FAILURES, QUEUES, RUNNING, SECTIONS
from pgtask.cli.top_view import ViewState, screen
from pgtask.cli.watcher import Action, Sight, Watcher
from pgtask.model.operations import Operations
from pgtask.model.overview import Overview, overview_as_json

PAGE = 10


@click.command()
@click.option("--interval", type=parameters.time_limit, metavar="DURATION", default="2s", help="Between two looks; 2s.")
@click.option("--once", is_flag=True, help="Show how things stand and exit; so it does where there is no terminal.")
@json_option
def top(interval: float, once: bool, json_output: bool) -> int:
    """Watch queues, workers, tasks and failures live.

    Keys: Tab and 1 to 5 go to a section, arrows to a row; p pauses or resumes a queue, c cancels and r retries a job;
    ? shows all, q quits. It goes on through an outage of the database. In a pipe each line begins with its section.
    """
    if once or json_output or not (on_terminal() and sys.stdin.isatty()):
        with operations() as doing:
            _print_once(doing.read_overview(), json_output)
        return DONE
    with way() as opened:
        # A wrong URL, a missing schema or a missing right is said before the screen is taken.
        with opened() as doing:
            doing.read_overview()
        _watch(Watcher(opened, interval))
    return DONE


def _print_once(overview: Overview, json_output: bool) -> None:
    if json_output:
        print_json(overview_as_json(overview))
    elif on_terminal():
        from rich.console import Console

        console = Console(highlight=False)
        height = 6 + sum(4 + len(section.rows(overview, 0)) for section in SECTIONS)
        state = ViewState(section=-1)
        lines = screen(Sight(overview=overview), state, console.width, height)[:-1]
        while not lines[-1]:
            lines.pop()
        for line in lines:
            line.rstrip()
            console.print(line, no_wrap=True, crop=True)
    else:
        for name in ("pending", "scheduled", "retrying", "running"):
            print_plain("total", name, overview.total(name))
        for section in SECTIONS:
            for row in section.rows(overview, 0):
                print_plain(section.title.lower(), *((column.plain or column.show)(row) for column in section.columns))


def _watch(watcher: Watcher) -> None:
    from rich.console import Console, Group
    from rich.live import Live

    from pgtask.cli.keyboard import keyboard

    console = Console(highlight=False)
    desk = Desk(watcher)
    with (
        _signals(watcher.ring),
        keyboard(sys.stdin.fileno()) as keys,
        Live(console=console, screen=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False) as live,
    ):
        watcher.start()
        try:
            while not desk.done:
                width, height = os.get_terminal_size(sys.stdout.fileno())
                console.size = (max(width, 20), max(height, 3))
                lines = screen(watcher.sight, desk.state, *console.size)
                live.update(Group(*lines), refresh=True)
                # Once a second for the ages on the screen; keys and news come at once.
                if keys.wait(1.0, watcher.bell):
                    for key in keys.pressed():
                        desk.press(key)
                watcher.hush()
        except (EOFError, KeyboardInterrupt):
            pass
        finally:
            watcher.stop()


@contextmanager
def _signals(resized: Callable[[], None]) -> Iterator[None]:
    """TERM and HUP leave in good order, so that the terminal gets its state back; a new size is drawn at once."""

    def leave(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        raise SystemExit(128 + number)

    before = {
        signal.SIGTERM: signal.signal(signal.SIGTERM, leave),
        signal.SIGHUP: signal.signal(signal.SIGHUP, leave),
        signal.SIGWINCH: signal.signal(signal.SIGWINCH, lambda *_: resized()),
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Desk:
    """What the keys do."""

    def __init__(self, watcher: Watcher) -> None:
        self.state = ViewState()
        self.done = False
        self._watcher = watcher
        self._asked: Action | None = None

    def press(self, key: str) -> None:
        """Does what a key stands for; others do nothing."""
        state = self.state
        if self._asked is not None:
            asked, self._asked, state.question = self._asked, None, ""
            if key in {"y", "Y"}:
                self._watcher.act(asked)
        elif state.help and key != "q":
            state.help = False
        elif key in _MOVES:
            if self._watcher.sight.overview is not None:
                state.move(self._watcher.sight.overview, _MOVES[key])
        elif key in {"tab", "back tab"}:
            state.section = (state.section + (1 if key == "tab" else -1)) % len(SECTIONS)
        elif key.isdigit() and 1 <= int(key) <= len(SECTIONS):
            state.section = int(key) - 1
        else:
            self._command(key)

    def _command(self, key: str) -> None:
        match key:
            case "q":
                self.done = True
            case "?":
                self.state.help = True
            case "s":
                self.state.order = (self.state.order + 1) % 3
            case " ":
                self._watcher.act(lambda _: "")
            case "p" | "P" | "c" | "C" | "r" | "R":
                self._act_on_row(key)

    def _act_on_row(self, key: str) -> None:
        overview = self._watcher.sight.overview
        section = {"p": QUEUES, "c": RUNNING, "r": FAILURES}[key.lower()]
        if overview is None or not (rows := self.state.rows(overview, section)):
            return
        if section != self.state.section:
            # What is not looked at is not acted on.
            self.state.section = section
            return
        row = rows[self.state.place(overview, section)]
        if section == QUEUES:
            self._watcher.act(_switch(row[0].name, paused=row[0].paused_at is not None))
            return
        action = (_cancel if section == RUNNING else _retry)(row.id)
        if key.isupper():
            self._watcher.act(action)
        else:
            self._asked = action
            verb = "Cancel" if section == RUNNING else "Retry"
            self.state.question = f"{verb} job {row.id} ({row.task})? y or n"


_MOVES = {
    "up": -1,
    "k": -1,
    "down": 1,
    "j": 1,
    "page up": -PAGE,
    "page down": PAGE,
    "home": -(10**6),
    "end": 10**6,
}


def _switch(name: str, *, paused: bool) -> Action:
    def act(doing: Operations) -> str:
        if paused:
            doing.resume_queues([name])
            return f"Queue {name} resumed."
        doing.pause_queues([name])
        return f"Queue {name} paused; p resumes it."

    return act


def _cancel(job_id: int) -> Action:
    def act(doing: Operations) -> str:
        (answer,) = doing.cancel_jobs([job_id])
        return sentence(CANCEL, answer)

    return act


def _retry(job_id: int) -> Action:
    def act(doing: Operations) -> str:
        (answer,) = doing.retry_jobs([job_id])
        return sentence(RETRY, answer)

    return act
