from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from pgtask.cli.statistics_views import rate, sparkline
from pgtask.cli.text import as_json, clean, clean_lines, first_line, relative, shortened
from pgtask.model.statistics import Bucket

DANGEROUS = [
    "\x00",
    "\x07",
    "\x1b[31m",
    "\x1b]0;title\x07",
    "\x7f",
    "\x9b31m",
    "\u202e",
    "\u2066",
    "\u200f",
    "\u2028",
    "\ufeff",
    "\U000e0041",
    "\r\n",
    "\t",
]


@pytest.mark.parametrize("text", DANGEROUS)
def test_text_is_shown_without_what_steers_a_terminal(text: str) -> None:
    shown = clean(f"a{text}b")
    assert shown.isprintable()
    assert shown.startswith("a\\")
    assert clean(shown) == shown


@pytest.mark.parametrize("text", DANGEROUS)
def test_json_escapes_what_steers_a_terminal_and_loses_nothing(text: str) -> None:
    value = {f"key{text}": [f"a{text}b", {"deep": text}]}
    for indent in (2, None):
        shown = as_json(value, indent)
        assert all(line.isprintable() for line in shown.split("\n"))
        assert json.loads(shown) == value


@pytest.mark.parametrize("text", ["Grüße", "日本語", "👩‍👩‍👧", "नमस्ते", "a\\nb"])
def test_ordinary_text_is_left_alone(text: str) -> None:
    assert clean(text) == text
    assert json.loads(as_json({"text": text})) == {"text": text}


def test_json_keeps_letters_readable() -> None:
    assert as_json({"name": "Grüße"}, None) == '{"name": "Grüße"}'


def test_lone_surrogates_can_be_printed() -> None:
    assert clean("a\ud800b") == "a\\ud800b"
    assert as_json("a\ud800b").encode() == b'"a\\ud800b"'


def test_lines_are_kept_apart_and_clean() -> None:
    assert clean_lines("a\tb\n\x1b[0mc\r\nd") == ["a   b", "\\x1b[0mc", "d"]
    assert first_line("\n  \n\nboom\nmore") == "boom"
    assert first_line(None) == ""


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.2, "now"),
        (5.01, "5 s ago"),
        (200, "3 m ago"),
        (7300, "2 h ago"),
        (-3660, "in 1 h"),
        (-90000, "in 1 d"),
    ],
)
def test_times_are_said_relative_to_now(seconds: float, said: str) -> None:
    assert relative(datetime.now(UTC) - timedelta(seconds=seconds)) == said


@pytest.mark.parametrize(
    ("text", "said"), [("日本語", "日本語"), ("日本語の", "日本…"), ("abcdef", "abcdef"), ("abcdefg", "abcde…")]
)
def test_text_is_cut_by_the_columns_it_takes(text: str, said: str) -> None:
    assert shortened(text, 6) == said


def test_a_sparkline_shows_the_smallest_and_the_greatest() -> None:
    now = datetime.now(UTC)
    numbers = [0, 1, 50, 100]
    line = sparkline([Bucket(began_at=now, completed=n, unsuccessful=0) for n in numbers])
    assert line == "·▁▄█"
    assert sparkline([]) == ""


@pytest.mark.parametrize(
    ("per_second", "said"),
    [(1234.5, "1,234/s"), (2.5, "2.5/s"), (0.5, "30/m"), (0.01, "36/h"), (0, "\N{EN DASH}")],
)
def test_rates_come_in_the_unit_that_says_most(per_second: float, said: str) -> None:
    assert rate(per_second) == said


def test_the_help_imports_nothing_heavy() -> None:
    code = "import sys; before = set(sys.modules); import pgtask.cli.main; print(*(set(sys.modules) - before))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "click" in loaded
    heavy = {"rich", "alembic", "sqlalchemy", "dotenv", "pgtask.cli.jobs", "pgtask.cli.worker"}
    assert not heavy & set(loaded)
