"""How `pgtask top` looks: an overview laid out as lines for a screen of any size.

All text from the database is cleaned here, so that nothing in it can steer the terminal.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from pgtask.cli.output import WIDE, Column
from pgtask.cli.statistics_views import rate, sparkline
from pgtask.cli.text import brief, clean, seconds_since
from pgtask.cli.top_sections import SECTIONS, Section
from pgtask.cli.watcher import Sight
from pgtask.model.overview import Overview
from pgtask.model.wording import duration, share

SELECTED = "reverse"
MESSAGE_SECONDS = 10.0
LEAST = 4
"""Lines of a section: title, column titles and two rows."""

KEYS = "Tab section · ↑↓ row · p pause · c cancel · r retry · s sort · ? help · q quit"
HELP = """\
1 … 5, Tab     go to a section
↑ ↓, k j       go to a row; also Page Up, Page Down, Home, End
p              pause the selected queue, or resume it
c              cancel the selected running job, after asking; C without
r              retry the selected failed job, after asking; R without
s              order tasks: busiest, slowest, failing first
space          look now
?              this help
q, Ctrl-C      quit"""


@dataclass(slots=True)
class ViewState:
    """Where the eyes are: the section, in each the row by its key, the order, and what is asked."""

    section: int = 0
    selected: dict[int, object] = field(default_factory=dict)
    order: int = 0
    help: bool = False
    question: str = ""

    def rows(self, overview: Overview, section: int) -> Sequence[Any]:
        """The rows of a section in the chosen order."""
        return SECTIONS[section].rows(overview, self.order)

    def place(self, overview: Overview, section: int) -> int:
        """The number of the selected row; the first when what was selected is gone."""
        keys = [SECTIONS[section].key(row) for row in self.rows(overview, section)]
        wanted = self.selected.get(section)
        return keys.index(wanted) if wanted in keys else 0

    def move(self, overview: Overview, steps: int) -> None:
        """Selects a row so many further down, within the list."""
        rows = self.rows(overview, self.section)
        if rows:
            place = min(max(self.place(overview, self.section) + steps, 0), len(rows) - 1)
            self.selected[self.section] = SECTIONS[self.section].key(rows[place])


def screen(sight: Sight, state: ViewState, width: int, height: int) -> list[Text]:
    """The lines of the whole screen: exactly `height` of them, none wider than `width`."""
    overview = sight.overview
    if overview is None:
        waiting = f"Database away: {clean(sight.trouble)}" if sight.trouble else "Looking …"
        lines = [_fit(Text(waiting, style="bold red" if sight.trouble else ""), width)]
    else:
        head = _head(sight, overview, width)
        lines = head[: max(1, min(len(head), height - LEAST - 1))]
        room = height - len(lines) - 1
        lines += _help(room) if state.help else _sections(overview, state, width, room)
    lines = lines[: max(0, height - 1)]
    lines += [Text()] * (height - 1 - len(lines))
    return [*lines, _foot(sight, state, width)]


def _head(sight: Sight, overview: Overview, width: int) -> list[Text]:
    title = Text("pgtask top", style="bold")
    if sight.away_since is None:
        mark = Text(f"{overview.at.astimezone():%H:%M:%S}", style="dim")
    else:
        since = datetime.fromtimestamp(sight.away_since).astimezone()
        mark = Text(f"Database away since {since:%H:%M:%S}, last known values", style="bold white on red")
    gap = " " * max(1, width - title.cell_len - mark.cell_len)
    oldest = overview.oldest_due_at
    paused = sum(queue.paused_at is not None for queue in overview.queues)
    figures = [f"{overview.total(name):,} {name}" for name in ("pending", "running", "scheduled", "retrying")]
    if oldest is not None:
        figures.append(f"oldest {brief(seconds_since(oldest))}")
    if paused:
        figures.append(f"{paused} paused")
    statistics = overview.statistics
    window = duration(statistics.window)
    attempts = f"{share(statistics.total.error_rate)} errors" if statistics.total.attempts else "no attempt ended"
    flow = Text.assemble(
        (rate(overview.rate) if overview.rate else "0/s", "bold"),
        f" · {attempts} in {window}  ",
        (sparkline(statistics.timeline), "cyan"),
    )
    return [_fit(title + Text(gap) + mark, width), _fit(Text(" · ".join(figures)), width), _fit(flow, width), Text()]


def _foot(sight: Sight, state: ViewState, width: int) -> Text:
    if state.question:
        return _fit(Text(clean(state.question), style="bold yellow"), width)
    if sight.trouble and sight.overview is not None:
        return _fit(Text(clean(sight.trouble), style="red"), width)
    if sight.message and time.time() - sight.message_at < MESSAGE_SECONDS:
        return _fit(Text(clean(sight.message), style="bold"), width)
    return _fit(Text(KEYS, style="dim"), width)


def _help(room: int) -> list[Text]:
    return [Text(f"  {line}") for line in HELP.splitlines()[:room]]


def _sections(overview: Overview, state: ViewState, width: int, room: int) -> list[Text]:
    counts = [len(state.rows(overview, number)) for number in range(len(SECTIONS))]
    # The blank line at the end of the last one is not needed.
    heights = _heights(counts, state.section, room + 1)
    if not all(heights):
        heights = _heights(counts, state.section, room)
    lines: list[Text] = []
    for number, height in enumerate(heights):
        if height:
            lines += _section(overview, state, number, width, height)
    hidden = [number for number, height in enumerate(heights) if not height]
    if hidden and room > LEAST:
        names = (f"{number + 1} {SECTIONS[number].title} ({counts[number]})" for number in hidden)
        lines = [*lines[: room - 1], _fit(Text(f"Hidden: {' · '.join(names)}", style="dim"), width)]
    return lines[:room]


def _heights(counts: list[int], focus: int, room: int) -> list[int]:
    """Lines for each section, a blank one at its end included: the focused one first gets what it needs, the others
    then share the rest in their order, each two rows before any gets more; 0 hides one."""
    need = [3 + max(1, count) for count in counts]
    heights = [0] * len(counts)
    heights[focus] = min(need[focus], room)
    others = [number for number in range(len(counts)) if number != focus]
    shown = 0
    for number in others:
        least = min(need[number], LEAST + 1)
        if sum(heights) + least > room:
            # The focused one gives way down to half of the screen.
            give = min(sum(heights) + least - room, max(0, heights[focus] - max(LEAST + 1, room // 2)))
            heights[focus] -= give
        if sum(heights) + least <= room:
            heights[number] = least
            shown += 1
    for number in [focus, *others]:
        if heights[number]:
            heights[number] += min(need[number] - heights[number], room - sum(heights))
    return heights


def _section(overview: Overview, state: ViewState, number: int, width: int, height: int) -> list[Text]:
    section, focused = SECTIONS[number], number == state.section
    rows = state.rows(overview, number)
    place = state.place(overview, number)
    room = max(1, height - 3)
    top = min(max(0, place - room + 1 if place >= room else 0), max(0, len(rows) - room))
    order = f", {section.orders[state.order]}" if section.orders else ""
    beyond = f" {top + 1} to {min(top + room, len(rows))} of {len(rows)}" if len(rows) > room else ""
    style = "bold cyan" if focused else "bold"
    title = Text.assemble((f"{number + 1} {section.title}", style), (f"{order}{beyond}", "dim"))
    if not rows:
        return [_fit(title, width), _fit(Text(f"  {section.empty}", style="dim"), width), Text()][:height]
    table = _lay_out(section, rows, width)
    body = table[1 + top : 1 + top + room]
    if focused:
        selected = body[place - top]
        selected.append(" " * max(0, width - selected.cell_len))
        selected.stylize(SELECTED)
    return [_fit(title, width), table[0], *body, Text()][:height]


def _lay_out(section: Section, rows: Sequence[Any], width: int) -> list[Text]:
    """The column titles and the rows as lines, each column as wide as its widest value where there is room."""
    columns: list[Column[Any]] = [column for column in section.columns if not column.wide or width >= WIDE]
    cells = [[clean(column.show(row)) for column in columns] for row in rows]
    widths = [
        max(cell_len(column.title), *(cell_len(line[place]) for line in cells)) for place, column in enumerate(columns)
    ]
    while sum(widths) + 2 * len(widths) > width:
        shrinkable = [place for place, column in enumerate(columns) if column.shrinks and widths[place] > 6]
        if not shrinkable:
            break
        widths[max(shrinkable, key=lambda place: widths[place])] -= 1
    lines = [
        Text("  ").join(Text(_sized(c.title, w, c.right), style="dim") for c, w in zip(columns, widths, strict=True))
    ]
    for row, line in zip(rows, cells, strict=True):
        lines.append(
            Text("  ").join(
                Text(_sized(value, w, column.right), style=column.style(row) if column.style else "")
                for value, w, column in zip(line, widths, columns, strict=True)
            )
        )
    return [_fit(line, width) for line in lines]


def _sized(text: str, width: int, right: bool) -> str:
    length = cell_len(text)
    if length > width:
        return set_cell_size(text, width - 1) + "…"
    return " " * (width - length) + text if right else text + " " * (width - length)


def _fit(text: Text, width: int) -> Text:
    text.truncate(width, overflow="ellipsis")
    return text
