"""The screens behind a row.

A list of tasks, the tasks of a cause of failures, and one task with its life and the reason why it is where it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import ClassVar

from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.screen import Screen
from textual.widgets import DataTable, Static

from leaseq.cli.output import STYLES, moment, styled
from leaseq.cli.top.acts import Acts
from leaseq.cli.top.ask import Ask
from leaseq.errors import LeaseqError
from leaseq.ledger.task_lists import TaskFilter
from leaseq.model import Task
from leaseq.operations.engine import Engine
from leaseq.operations.life.history import summary_line, task_history
from leaseq.operations.why.explain import explain
from leaseq.operations.why.wording import moment as utc
from leaseq.safe_text.exceptions import text_of

LISTED = 100


class TaskScreen(Screen[None]):
    """One task: its state, its life, why it is where it is, and what a person can do."""

    BINDINGS: ClassVar[list[BindingType]] = [
        ("escape,backspace", "app.pop_screen", "back"),
        ("C", "cancel", "cancel"),
        ("R", "redrive", "redrive"),
    ]

    def __init__(self, engine: Engine, task_id: str, *, seconds: float) -> None:
        super().__init__()
        self._engine = engine
        self._task_id = task_id
        self._seconds = seconds
        self._shown: Task | None = None
        self._told = ""

    def compose(self) -> ComposeResult:
        with VerticalScroll():
            yield Static(self._task_id, id="task", markup=False)
        yield Static("Esc back   C cancel   R redrive", id="keys", markup=False)

    def on_mount(self) -> None:
        """Begin to look."""
        self.watch_task()

    @work
    async def watch_task(self) -> None:
        """Look at the task until the screen is closed."""
        while True:
            await self.look()
            await asyncio.sleep(self._seconds)

    async def look(self) -> None:
        """Read the task and show it. While a server does not answer, the error stands there."""
        try:
            text = await self._read()
        except LeaseqError as error:
            self.query_one("#task", Static).update(styled(text_of(error), STYLES["fault"]))
            return
        self.query_one("#task", Static).update(text)

    async def _read(self) -> Text:
        life = await self._engine.read_life(self._task_id, tenant=None)
        task = life.task
        why = explain(await self._engine.read_facts(self._task_id, tenant=task.tenant))
        self._shown = task
        next_at = "" if why.next_at is None else f": {utc(why.next_at)}"
        lines = [
            Text.assemble(
                styled(task.task_id, "bold"), " ", styled(task.state, STYLES[task.state])
            ),
            styled(summary_line(task)),
            styled(" ".join(f"{name}={value}" for name, value in task.labels.items()), "dim"),
            *(
                Text.assemble(
                    styled(moment(line.when, fine=True).ljust(24), "dim"), styled(line.text)
                )
                for line in task_history(task, life.attempts, life)
            ),
            Text(),
            styled(why.sentence, "bold"),
            styled(f"next  {why.next}{next_at}"),
            *(styled(f"do    {action}") for action in why.actions),
            *(styled(f"facts {each.source}: {each.text}", "dim") for each in why.evidence),
            Text(),
            styled(self._told, STYLES["warning"]),
        ]
        return Text("\n").join(lines)

    def action_cancel(self) -> None:
        """Ask, then cancel the task that is shown."""
        self._ask("cancel", Acts(self._engine.config).cancel)

    def action_redrive(self) -> None:
        """Ask, then redrive the task that is shown."""
        self._ask("redrive", Acts(self._engine.config).redrive)

    def _ask(self, verb: str, act: Callable[[Task], Awaitable[str]]) -> None:
        task = self._shown
        if task is None:
            return

        def answered(answer: str | None) -> None:
            if answer == "yes":
                self.act(verb, act, task)

        question = f"{verb} task {task.task_id}, {task.state}, attempt {task.attempt}? Type yes:"
        self.app.push_screen(Ask(question), answered)

    @work
    async def act(self, verb: str, act: Callable[[Task], Awaitable[str]], task: Task) -> None:
        """Do it, and tell what became of it."""
        try:
            self._told = f"{verb}: {await act(task)}"
        except LeaseqError as error:
            self._told = f"{verb}: {text_of(error)}"
        await self.look()


class ListScreen(Screen[None]):
    """A list of tasks that is read once."""

    BINDINGS: ClassVar[list[BindingType]] = [("escape,backspace", "app.pop_screen", "back")]
    COLUMNS: ClassVar[tuple[str, ...]] = ()

    def __init__(self, engine: Engine, title: str, *, seconds: float) -> None:
        super().__init__()
        self._engine = engine
        self._title = title
        self._seconds = seconds

    def compose(self) -> ComposeResult:
        yield Static(styled(self._title), id="title", markup=False)
        yield DataTable[Text](cursor_type="row", zebra_stripes=False)
        yield Static("Enter why   Esc back", id="keys", markup=False)

    def on_mount(self) -> None:
        """Read the list once."""
        self.query_one(DataTable).add_columns(*self.COLUMNS)
        self.read()

    @work
    async def read(self) -> None:
        """Read one page."""
        try:
            rows = await self.rows()
        except LeaseqError as error:
            self.notify(text_of(error), severity="error", markup=False)
            return
        table = self.query_one(DataTable)
        for row in rows:
            table.add_row(*(styled(cell, STYLES.get(cell, "")) for cell in row), key=row[0])

    async def rows(self) -> list[tuple[str, ...]]:
        """The cells of each row, which begin with the id of its task."""
        raise NotImplementedError

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        """Open the task."""
        if event.row_key.value:
            self.app.push_screen(
                TaskScreen(self._engine, event.row_key.value, seconds=self._seconds)
            )


class TasksScreen(ListScreen):
    """The newest tasks with a filter."""

    COLUMNS: ClassVar[tuple[str, ...]] = ("TASK", "STATE", "TYPE", "QUEUE", "SUBMITTED", "ENDED")

    def __init__(self, engine: Engine, wanted: TaskFilter, *, seconds: float) -> None:
        given = (wanted.state, wanted.queue, wanted.type)
        title = f"newest tasks: {' '.join(each for each in given if each)}"
        super().__init__(engine, title, seconds=seconds)
        self._wanted = wanted

    async def rows(self) -> list[tuple[str, ...]]:
        """The tasks of the filter."""
        found = await self._engine.for_tenant(None).list_tasks(self._wanted)
        return [
            (
                *(task.task_id, task.state, task.type, task.queue),
                *(moment(task.created_at), moment(task.finished_at)),
            )
            for task in found.tasks
        ]


class CauseScreen(ListScreen):
    """The recent tasks in which a cause of failures has occurred."""

    COLUMNS: ClassVar[tuple[str, ...]] = ("TASK", "STATE", "ATTEMPT", "ENDED", "HOST", "VERSION")

    def __init__(self, engine: Engine, type_name: str, fingerprint: str, *, seconds: float) -> None:
        super().__init__(engine, f"failure {type_name}/{fingerprint}", seconds=seconds)
        self._cause = (type_name, fingerprint)

    async def rows(self) -> list[tuple[str, ...]]:
        """The newest failed attempt of each task. Their messages are on the screen of the task."""
        found = await self._engine.failures.list_attempts(*self._cause, tenant=None)
        newest = {attempt.task_id: attempt for attempt in reversed(found)}
        return [
            (
                *(each.task_id, each.state, str(each.attempt), moment(each.finished_at)),
                *(each.host or "-", each.version or "-"),
            )
            for each in reversed(newest.values())
        ]


__all__ = ["LISTED", "CauseScreen", "TaskScreen", "TasksScreen"]
