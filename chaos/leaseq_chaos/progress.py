"""Show the progress of a run.

One line, rewritten every second in a terminal, or a new line every ten seconds elsewhere.
"""

from __future__ import annotations

from time import monotonic

from rich.console import Console

from leaseq.model import State
from leaseq_chaos.run import Progress
from leaseq_chaos.verdict import Finding, Verdict, merged

__all__ = ["Narrator"]

PLAIN_SECONDS = 10.0
COLOURS = {Verdict.VALID: "green", Verdict.INVALID: "bold red", Verdict.UNKNOWN: "yellow"}


class Narrator:
    """Tells of runs on a console."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began = monotonic()
        self._told_at = 0.0
        self._told_violations = 0

    def begin(self, command: str) -> None:
        """A run begins."""
        self._began, self._told_at, self._told_violations = monotonic(), 0.0, 0
        self._console.print(f"[bold]{command}[/bold]")

    def show(self, progress: Progress) -> None:
        """The present state of a run."""
        for violation in progress.watch.violations[self._told_violations :][:10]:
            self._console.print(f"[bold red]{violation}[/bold red]")
        self._told_violations = len(progress.watch.violations)
        now = monotonic()
        if self._console.is_terminal:
            self._console.print(
                _line(progress, now - self._began), end="\r", overflow="crop", no_wrap=True
            )
        elif now - self._told_at >= PLAIN_SECONDS:
            self._told_at = now
            self._console.print(_line(progress, now - self._began), soft_wrap=True)

    def end(self, findings: list[Finding], report: str) -> None:
        """The verdict, one line for each checker."""
        self._console.print()
        for finding in findings:
            colour = COLOURS[finding.verdict]
            self._console.print(
                f"  [{colour}]{finding.verdict:8}[/{colour}] {finding.checker:12} {finding.said}",
                soft_wrap=True,
            )
            for violation in finding.violations[:5]:
                self._console.print(
                    f"           [red]{violation.task or ''} {violation.said}[/red]", soft_wrap=True
                )
        verdict = merged(finding.verdict for finding in findings)
        seconds = monotonic() - self._began
        self._console.print(
            f"[{COLOURS[verdict]}]{verdict}[/{COLOURS[verdict]}] after {seconds:.0f} s: {report}",
            soft_wrap=True,
        )


def _line(progress: Progress, seconds: float) -> str:
    states = progress.watch.states
    told = " ".join(f"{state.lower()} {states[state]}" for state in State)
    injected = progress.storm.injected
    open_ones = ", ".join(sorted(progress.storm.open.values())) or "none"
    return (
        f"{seconds:5.0f} s {progress.phase[-1]:8} | {told} | faults {injected.total()} of {len(injected)} kinds, "
        f"open: {open_ones} | violations {len(progress.watch.violations)}"
    )
