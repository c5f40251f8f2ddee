"""Single keys from a terminal, and the terminal as it was afterwards."""

from __future__ import annotations

import codecs
import os
import select
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager

_SEQUENCES = {
    "\x1b[A": "up",
    "\x1b[B": "down",
    "\x1bOA": "up",
    "\x1bOB": "down",
    "\x1b[5~": "page up",
    "\x1b[6~": "page down",
    "\x1b[H": "home",
    "\x1b[F": "end",
    "\x1b[Z": "back tab",
    "\t": "tab",
    "\r": "enter",
    "\n": "enter",
    "\x1b": "escape",
}


class Keyboard:
    """A terminal that gives each key at once and shows none."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def wait(self, timeout: float, other: int) -> bool:
        """Waits until a key is pressed (true), the descriptor `other` can be read, or so many seconds have passed."""
        ready, _, _ = select.select([self._descriptor, other], [], [], timeout)
        return self._descriptor in ready

    def pressed(self) -> list[str]:
        """The keys pressed: characters, or names such as "up". Raises EOFError when the terminal is gone."""
        data = os.read(self._descriptor, 1024)
        if not data:
            raise EOFError
        return split_keys(self._decoder.decode(data))


def split_keys(text: str) -> list[str]:
    """The keys that a terminal sends as text; sequences of keys that have no name here are dropped."""
    keys: list[str] = []
    while text:
        if text.startswith(("\x1b[", "\x1bO")):
            # A sequence ends with its first letter or tilde.
            end = next((i for i, char in enumerate(text[2:], 3) if "@" <= char <= "~"), len(text))
            sequence, text = text[:end], text[end:]
            if sequence in _SEQUENCES:
                keys.append(_SEQUENCES[sequence])
        else:
            char, text = text[0], text[1:]
            keys.append(_SEQUENCES.get(char, char))
    return keys


@contextmanager
def keyboard(descriptor: int) -> Iterator[Keyboard]:
    """The keyboard of a terminal for the block.

    Interrupting works as ever; suspending is switched off, as it would leave the shell a terminal in this state.
    """
    before = termios.tcgetattr(descriptor)
    try:
        tty.setcbreak(descriptor)
        now = termios.tcgetattr(descriptor)
        now[6][termios.VSUSP] = b"\x00"
        termios.tcsetattr(descriptor, termios.TCSANOW, now)
        yield Keyboard(descriptor)
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
