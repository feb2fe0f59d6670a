"""The live screen of `leaseq top`.

Only the modules behind this one import Textual, and only when the screen is shown.
"""

from __future__ import annotations

import asyncio
import re
import signal
from collections.abc import Awaitable
from time import monotonic
from typing import ClassVar

from rich.text import Text
from textual import work
from textual.app import App, ComposeResult
from textual.binding import BindingType
from textual.widgets import DataTable, Static

from leaseq.cli.output import STYLES, styled
from leaseq.cli.top.acts import Acts
from leaseq.cli.top.ask import Ask
from leaseq.cli.top.look import Look, Wanted, look_at
from leaseq.cli.top.tables import TABS, UNKNOWN, Row, head_of
from leaseq.cli.top.task_screens import LISTED, CauseScreen, TaskScreen, TasksScreen
from leaseq.errors import LeaseqError
from leaseq.ledger.task_lists import TaskFilter
from leaseq.model import State
from leaseq.operations.engine import Engine
from leaseq.safe_text.exceptions import text_of

KEYS = "1-8 tab  Enter open  / filter  s sort  space freeze  P pause  A acknowledge  q quit"
_NUMBER = re.compile(r"([\d.]+)\s*([dhms%]?)")
_UNITS = {"d": 86_400.0, "h": 3_600.0, "m": 60.0}


class TopScreen(App[None]):
    """One tab at a time, read again every `seconds`."""

    TITLE = "leaseq top"
    ENABLE_COMMAND_PALETTE = False
    CSS = """
    #head, #tabs, #keys { height: auto; }
    #keys { color: $text-muted; }
    DataTable { height: 1fr; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        *((str(number), f"tab({number})", tab.name) for number, tab in enumerate(TABS, 1)),
        ("slash", "filter", "filter"),
        ("s", "sort", "sort"),
        ("space", "freeze", "freeze"),
        ("P", "pause", "pause or resume"),
        ("A", "acknowledge", "acknowledge"),
        ("q", "quit", "quit"),
    ]

    def __init__(self, engine: Engine, wanted: Wanted, *, seconds: float) -> None:
        super().__init__()
        self._engine = engine
        self._wanted = wanted
        self._seconds = seconds
        self._tab = TABS[0]
        self._last: Look | None = None
        self._with_redis: Look | None = None  # the last look that Redis had answered
        self._lost: tuple[float, str] | None = None
        self._frozen = False
        self._filter = ""
        self._sorted_by: int | None = None
        self._told = ""

    def compose(self) -> ComposeResult:
        yield Static("", id="head", markup=False)
        yield Static("", id="tabs", markup=False)
        yield DataTable[Text](cursor_type="row", id="table")
        yield Static(KEYS, id="keys", markup=False)

    def on_mount(self) -> None:
        """Begin to look."""
        self._show_columns()
        self.watch_cluster()

    @work
    async def watch_cluster(self) -> None:
        """Look at the cluster until the end."""
        while True:
            if not self._frozen:
                await self.look()
            await asyncio.sleep(self._seconds)

    async def look(self) -> None:
        """Look once. A server that does not answer leaves the last numbers, in grey."""
        try:
            self._last = await look_at(self._engine, self._wanted)
            self._lost = None
        except LeaseqError as error:
            began = monotonic() if self._lost is None else self._lost[0]
            self._lost = began, text_of(error)
        else:
            if self._last.overview.redis == "up":
                self._with_redis = self._last
        self.show_look()

    def show_look(self) -> None:
        """Show the last look."""
        main = self.screen_stack[0]
        main.query_one("#head", Static).update(Text("\n").join(self._head()))
        names = [
            styled(f" {number} {tab.name} ", "reverse" if tab is self._tab else "")
            for number, tab in enumerate(TABS, 1)
        ]
        marks = f"  filter {self._filter}" if self._filter else ""
        if self._sorted_by is not None:
            marks += f"  by {self._tab.titles[self._sorted_by]}"
        main.query_one("#tabs", Static).update(Text.assemble(*names, styled(marks, "dim")))
        self._show_rows(main.query_one("#table", DataTable))

    def _head(self) -> list[Text]:
        lines = []
        if self._lost is not None:
            began, message = self._lost
            lines.append(
                styled(f"LOST for {monotonic() - began:.0f} s: {message}", STYLES["fault"])
            )
        if self._frozen:
            lines.append(styled("FROZEN: space goes on", STYLES["warning"]))
        if self._told:
            lines.append(styled(self._told, STYLES["warning"]))
        if self._last is None:
            return [*lines, styled("looking")]
        for line in head_of(self._last):
            style = STYLES["warning"] if line.startswith("!") or "away" in line else ""
            lines.append(styled(line, "dim" if self._lost is not None else style))
        return lines

    def rows(self) -> list[Row]:
        """The rows of this tab, filtered and sorted."""
        if self._last is None:
            return []
        found = [
            row
            for row in self._tab.rows(self._last, self._with_redis, self._wanted)
            if self._filter.lower() in " ".join(row.cells).lower()
        ]
        column = self._sorted_by
        return found if column is None else sorted(found, key=lambda row: order(row.cells[column]))

    def _show_columns(self) -> None:
        table = self.screen_stack[0].query_one("#table", DataTable)
        table.clear(columns=True)
        table.add_columns(*(title.upper() for title in self._tab.titles))

    def _show_rows(self, table: DataTable[Text]) -> None:
        at = self._selected(table)
        line = table.cursor_row
        table.clear()
        rows = self.rows()
        for row in rows:
            is_old = row.old or self._lost is not None
            cells = (styled(cell, "dim" if is_old else STYLES.get(cell, "")) for cell in row.cells)
            table.add_row(*cells, key=row.key)
        keys = [row.key for row in rows]
        table.move_cursor(row=keys.index(at) if at in keys else min(line, len(rows)))

    def _selected(self, table: DataTable[Text]) -> str | None:
        if not table.is_valid_row_index(table.cursor_row):
            return None
        return table.coordinate_to_cell_key((table.cursor_row, 0)).row_key.value  # type: ignore[arg-type]

    def action_tab(self, number: int) -> None:
        """Change to a tab."""
        self._tab, self._sorted_by = TABS[number - 1], None
        self._show_columns()
        self.show_look()

    def action_sort(self) -> None:
        """Sort by the next column; after the last one, as it comes."""
        after = 0 if self._sorted_by is None else self._sorted_by + 1
        self._sorted_by = after if after < len(self._tab.titles) else None
        self.show_look()

    def action_freeze(self) -> None:
        """Stop looking, or go on."""
        self._frozen = not self._frozen
        self.show_look()

    def action_filter(self) -> None:
        """Ask for a text that rows must have."""

        def answered(answer: str | None) -> None:
            if answer is not None:
                self._filter = answer.strip()
                self.show_look()

        self.push_screen(Ask("only rows with:", value=self._filter), answered)

    def action_pause(self) -> None:
        """Ask, then pause the selected queue, or resume it."""
        queue = self._selected(self.screen_stack[0].query_one("#table", DataTable))
        if self._tab is not TABS[0] or queue is None or self._last is None:
            return
        is_paused = any(each.name == queue and each.paused for each in self._last.overview.queues)
        verb = "resume" if is_paused else "pause"

        def answered(answer: str | None) -> None:
            if answer == "yes":
                self.act(Acts(self._engine.config).pause(queue, paused=not is_paused))

        self.push_screen(Ask(f"{verb} queue {queue}? Type yes:"), answered)

    def action_acknowledge(self) -> None:
        """Ask, then acknowledge the selected cause of failures."""
        cause = self._selected(self.screen_stack[0].query_one("#table", DataTable))
        if self._tab.name != "failures" or cause is None:
            return
        type_name, fingerprint = cause.split(" ")

        def answered(answer: str | None) -> None:
            if answer == "yes":
                self.act(Acts(self._engine.config).acknowledge(type_name, fingerprint))

        self.push_screen(Ask(f"acknowledge {type_name}/{fingerprint}? Type yes:"), answered)

    @work
    async def act(self, acting: Awaitable[str]) -> None:
        """Change something, and tell what became of it."""
        try:
            self._told = await acting
        except LeaseqError as error:
            self._told = text_of(error)
        await self.look()

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        """Open the task of a row, or the newest tasks of its queue, type or failure."""
        row = next((each for each in self.rows() if each.key == event.row_key.value), None)
        if row is None:
            return
        task_id = row.key.split(" ")[-1] if self._tab.name in ("running", "diary") else ""
        if task_id:
            self.push_screen(TaskScreen(self._engine, task_id, seconds=self._seconds))
            return
        if self._tab.name == "failures":
            type_name, fingerprint = row.key.split(" ")
            self.push_screen(
                CauseScreen(self._engine, type_name, fingerprint, seconds=self._seconds)
            )
            return
        wanted = self._behind(row)
        if wanted is not None:
            self.push_screen(TasksScreen(self._engine, wanted, seconds=self._seconds))

    def _behind(self, row: Row) -> TaskFilter | None:
        match self._tab.name:
            case "queues":
                return TaskFilter(queue=row.key, type=self._wanted.type, limit=LISTED)
            case "dead":
                queue, type_name = row.key.split(" ")
                return TaskFilter(state=State.FAILED, queue=queue, type=type_name, limit=LISTED)
            case "types":
                queue, type_name = row.key.split(" ")
                return TaskFilter(queue=queue, type=type_name, limit=LISTED)
        return None


def order(cell: str) -> tuple[int, float, str]:
    """The place of a cell in its column: numbers and spans first, the largest first, then texts, and
    dashes last."""
    if cell == UNKNOWN:
        return 2, 0.0, ""
    parts = _NUMBER.findall(cell) if cell[:1].isdigit() else []
    if not parts:
        return 1, 0.0, cell
    return 0, -sum(float(number) * _UNITS.get(unit, 1.0) for number, unit in parts[:2]), cell


async def run_screen(engine: Engine, wanted: Wanted, *, seconds: float) -> None:
    """Show the screen until `q`. Raises `ServerUnreachable` where Postgres does not answer at the
    start, before the screen is drawn."""
    await look_at(engine, wanted)
    screen = TopScreen(engine, wanted, seconds=seconds)
    # The terminal is given back as it was.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, screen.exit)
    await screen.run_async()


__all__ = ["TopScreen", "order", "run_screen"]
