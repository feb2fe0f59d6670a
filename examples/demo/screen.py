"""The output of the demo: a bar and sentences in a terminal, sentences elsewhere."""

from __future__ import annotations

from time import monotonic

from rich.box import SIMPLE
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from examples.demo.ledger import Progress as Count
from examples.demo.verdict import Finding, Measure

LINE_SECONDS = 2.0
LINE_WIDTH = 110


class Screen:
    """Where the demo speaks."""

    def __init__(self, total: int) -> None:
        self._console = Console(highlight=False, soft_wrap=True)
        if not self._console.is_terminal:
            self._console.width = LINE_WIDTH
        self._total = total
        self._told = monotonic()
        self._bar = Progress(
            TextColumn("  finished"),
            BarColumn(40),
            TextColumn("{task.completed:,} of {task.total:,}"),
            TextColumn("{task.fields[running]} running"),
            TimeElapsedColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
            transient=True,
        )
        self._row = self._bar.add_task("", total=total, running=0)

    def say(self, text: str, style: str = "") -> None:
        """One sentence."""
        self._console.print(text, style=style)

    def show(self, count: Count) -> None:
        """How far it is."""
        self._bar.start()
        self._bar.update(self._row, completed=count.finished, running=count.running)
        if not self._console.is_terminal and monotonic() - self._told > LINE_SECONDS:
            self._told = monotonic()
            self.say(f"  {count.finished:,} of {self._total:,} finished, {count.running} running")

    def close(self) -> None:
        """Give the terminal back."""
        self._bar.stop()

    def report(self, findings: list[Finding], measures: list[Measure]) -> None:
        """The guarantees, the findings, and the costs."""
        promises = Table(title="Guarantees and findings", title_justify="left", box=SIMPLE)
        for heading in ("promise", "seen", ""):
            promises.add_column(heading)
        for finding in findings:
            held = "[green]held[/]" if finding.held else "[bold red]BROKEN[/]"
            promises.add_row(finding.promise, finding.seen, held)
        numbers = Table(
            title="Costs on this machine", title_justify="left", box=SIMPLE, show_header=False
        )
        for measure in measures:
            numbers.add_row(measure.what, measure.value)
        for table in (promises, numbers):
            self._console.print()
            self._console.print(table, soft_wrap=False)
