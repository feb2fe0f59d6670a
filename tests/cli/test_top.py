"""`leaseq top`: as tables in a pipe, and as a screen that a person drives."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from msgspec.structs import replace

from leaseq.cli.commands import top as command
from leaseq.cli.top.look import Look, Wanted, look_at
from leaseq.cli.top.tables import TABS, UNKNOWN, head_of
from leaseq.config import Config
from leaseq.errors import ServerUnreachable
from leaseq.ledger.statistics import Counted
from leaseq.model import State
from leaseq.operations.engine import Engine
from leaseq.operations.open_engine import open_engine
from leaseq.operations.statistics.read import QueueFigures, figures_of
from support.cli import Command, Stage
from support.failures import GONE
from support.worker import until

WORKER = "w" * 32
EVERYTHING = Wanted()


def table(stdout: str) -> list[list[str]]:
    return [line.split() for line in stdout.splitlines() if line.strip()]


def test_once_prints_one_table_that_a_pipe_can_read(leaseq: Command, stage: Stage) -> None:
    stage.open_worker(WORKER)
    running, waiting = stage.submit(), stage.submit(queue="mail")
    stage.pull("default", WORKER)
    stage.claim(running, WORKER)
    result = leaseq("top", "--once")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "\x1b" not in result.stdout
    rows = table(result.stdout)
    assert ["mail", "unserved", "0/1/0/0"] in [row[:3] for row in rows]
    assert [running, "add", "default", "1"] in [row[:4] for row in rows]
    assert waiting not in result.stdout
    assert "! Queue mail: 1 task waits, and no worker serves it." in result.stdout
    assert "mail" not in leaseq("top", "--once", "--queue", "default").stdout.split("QUEUE")[1]


def test_json_has_the_numbers(leaseq: Command, stage: Stage) -> None:
    stage.submit(queue="mail")
    found = json.loads(leaseq("top", "--json").stdout)
    (queue,) = found["overview"]["queues"]
    assert (queue["name"], queue["lanes"]["waiting"]) == ("mail", 1)
    assert found["running"] == []
    assert (found["failures"], found["dead_letters"]) == ([], [])


def test_postgres_out_of_reach_at_the_start_is_4(leaseq: Command) -> None:
    result = leaseq("top", "--once", LEASEQ_POSTGRES_URL="postgresql://nobody@127.0.0.1:1/x")
    assert (result.exit_code, result.stdout) == (4, "")


def test_redis_away_is_told_and_its_numbers_are_dashes(
    leaseq: Command, stage: Stage, config: Config
) -> None:
    stage.submit(queue="mail")
    result = leaseq("top", "--once", LEASEQ_REDIS_URL="redis://127.0.0.1:1/0")
    assert result.exit_code == 0
    assert "Redis away" in result.stdout
    assert ["mail", "unserved", UNKNOWN] in [row[:3] for row in table(result.stdout)]


def test_without_textual_a_terminal_gets_the_table_and_the_advice(
    leaseq: Command, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "is_terminal", lambda: True)
    monkeypatch.setattr(command, "find_spec", lambda name: None)
    result = leaseq("top")
    assert result.exit_code == 0
    assert "pip install 'leaseq[top]'" in result.stderr
    assert "QUEUE" in result.stdout


def test_the_command_line_does_not_import_textual() -> None:
    code = "import sys, leaseq.cli.commands.top; print('textual' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


async def test_every_tab_has_a_cell_for_each_title(config: Config) -> None:
    async with open_engine(config, name="leaseq test") as engine:
        look = await look_at(engine, EVERYTHING)
    for tab in TABS:
        for row in tab.rows(look, None, EVERYTHING):
            assert len(row.cells) == len(tab.titles)
    assert head_of(look)[0].startswith(f"{look.overview.at:%H:%M:%S} UTC")


def test_numbers_of_redis_are_those_of_the_last_look_while_it_is_away(stage: Stage) -> None:
    stage.submit(queue="mail")
    before = stage.do(lambda engine: look_at(engine, EVERYTHING))
    (queue,) = before.overview.queues
    away = replace(before.overview, redis="away", queues=[replace(queue, lanes=None)])
    (row,) = TABS[0].rows(replace(before, overview=away), before, EVERYTHING)
    assert (row.cells[2], row.old) == ("0/1/0/0", True)
    (row,) = TABS[0].rows(replace(before, overview=away), None, EVERYTHING)
    assert (row.cells[2], row.old) == (UNKNOWN, True)


def test_a_queue_has_its_rates_and_the_wait_of_its_tasks(stage: Stage) -> None:
    for queue in ("mail", "quiet"):
        stage.submit(queue=queue)
    look = stage.do(lambda engine: look_at(engine, EVERYTHING))
    counted = Counted(created=3600, succeeded=1800, waits=[0] * 20 + [5])
    figures = QueueFigures(queue="mail", figures=figures_of(counted, 3600))
    look = replace(look, statistics=replace(look.statistics, queues=[figures]))
    rows = {
        row.key: dict(zip(TABS[0].titles, row.cells, strict=True))
        for row in TABS[0].rows(look, None, EVERYTHING)
    }
    assert (rows["mail"]["in/s"], rows["mail"]["out/s"]) == ("1", "0.5")
    assert rows["mail"]["p95 wait"] not in (UNKNOWN, "0 s")
    assert [rows["quiet"][title] for title in ("in/s", "out/s", "p95 wait")] == [UNKNOWN] * 3


@pytest.fixture
async def engine(config: Config) -> AsyncIterator[Engine]:
    async with open_engine(config, name="leaseq test") as opened:
        yield opened


async def shown(pilot: Any, condition: Callable[[], bool]) -> None:
    async def holds() -> bool:
        await pilot.pause()
        return condition()

    await until(holds)


def the_table(app: Any) -> Any:
    return app.screen.query_one("#table")


def listed(app: Any) -> int:
    return sum(each.row_count for each in app.screen.query("DataTable"))


def text_of(app: Any, name: str) -> str:
    return str(app.screen.query_one(name).render())


async def test_each_tab_filter_and_sort_on_the_screen(engine: Engine, stage: Stage) -> None:
    screen = pytest.importorskip("leaseq.cli.top.screen")
    for queue in ("mail", "billing", "mail"):
        await asyncio.to_thread(stage.submit, queue=queue)
    app = screen.TopScreen(engine, EVERYTHING, seconds=0.1)
    async with app.run_test(size=(80, 24)) as pilot:
        await shown(pilot, lambda: len(app.rows()) == 2)
        for number, tab in enumerate(TABS, 1):
            await pilot.press(str(number))
            labels = [str(column.label) for column in the_table(app).columns.values()]
            assert labels == [title.upper() for title in tab.titles]
        await pilot.press("1", "slash", *"mail", "enter")
        await shown(pilot, lambda: [row.key for row in app.rows()] == ["mail"])
        await pilot.press("slash", *["backspace"] * 4, "enter")
        await shown(pilot, lambda: len(app.rows()) == 2)
        await pilot.press("s")
        assert [row.key for row in app.rows()] == ["billing", "mail"]
        await pilot.press("space")
        await shown(pilot, lambda: "FROZEN" in text_of(app, "#head"))
        await pilot.press("q")
    assert app.return_code == 0


async def test_capitals_and_yes_pause_a_queue_and_small_letters_do_not(
    engine: Engine, stage: Stage
) -> None:
    screen = pytest.importorskip("leaseq.cli.top.screen")
    await asyncio.to_thread(stage.submit, queue="mail")
    app = screen.TopScreen(engine, EVERYTHING, seconds=0.1)

    async def is_paused() -> bool:
        return (await engine.list_queues())[0].paused

    async with app.run_test(size=(80, 24)) as pilot:
        await shown(pilot, lambda: len(app.rows()) == 1)
        await pilot.press("p")
        assert len(app.screen_stack) == 1
        await pilot.press("P", *"no", "enter", "P", "escape", "P", "enter")
        assert not await is_paused()
        await pilot.press("P", *"yes", "enter")
        await until(is_paused)
        await shown(pilot, lambda: app.rows()[0].cells[1] == "paused")


async def test_a_cause_of_failures_is_acknowledged_and_opened(engine: Engine, stage: Stage) -> None:
    screen = pytest.importorskip("leaseq.cli.top.screen")
    task_id = await asyncio.to_thread(stage.submit)
    await asyncio.to_thread(stage.claim_and_fail, task_id)
    app = screen.TopScreen(engine, EVERYTHING, seconds=0.1)

    async def is_acknowledged() -> bool:
        group = await engine.failures.find_group("add", GONE.fingerprint, tenant=None)
        return group is not None and group.state == "acknowledged"

    async with app.run_test(size=(80, 24)) as pilot:
        await shown(pilot, lambda: len(app.rows()) == 1)
        await pilot.press("A")
        assert len(app.screen_stack) == 1, "only among the failures"
        await pilot.press("4")
        await shown(pilot, lambda: app.rows()[0].cells[:3] == ("Gone", "add", "new"))
        await pilot.press("a")
        assert len(app.screen_stack) == 1
        await pilot.press("A", *"no", "enter", "A", "escape")
        assert not await is_acknowledged()
        await pilot.press("A", *"yes", "enter")
        await until(is_acknowledged)
        await shown(pilot, lambda: app.rows()[0].cells[2] == "acknowledged")
        await pilot.press("enter")
        await shown(pilot, lambda: listed(app) == 1 and "failure add/" in text_of(app, "#title"))
        await pilot.press("enter")
        await shown(pilot, lambda: bool(app.screen.query("#task")))
        await shown(pilot, lambda: task_id in text_of(app, "#task"))
        await pilot.press("escape", "escape", "8")
        await shown(pilot, lambda: app.rows()[0].cells == ("default", "add", "1"))


async def test_a_task_is_opened_and_cancelled(engine: Engine, stage: Stage) -> None:
    screen = pytest.importorskip("leaseq.cli.top.screen")
    task_id = await asyncio.to_thread(stage.submit, queue="mail")
    app = screen.TopScreen(engine, EVERYTHING, seconds=0.1)

    async def state() -> State:
        return (await engine.for_tenant("default").find(task_id)).state

    async def is_cancelled() -> bool:
        return await state() is State.CANCELLED

    async with app.run_test(size=(80, 24)) as pilot:
        await shown(pilot, lambda: len(app.rows()) == 1)
        await pilot.press("enter")
        await shown(pilot, lambda: listed(app) == 1)
        await pilot.press("enter")
        await shown(pilot, lambda: bool(app.screen.query("#task")))
        await shown(pilot, lambda: "no worker" in text_of(app, "#task").lower())
        await pilot.press("c")
        assert len(app.screen_stack) == 3
        await pilot.press("C", *"no", "enter")
        assert await state() is State.PENDING
        await pilot.press("C", *"yes", "enter")
        await until(is_cancelled)
        await shown(pilot, lambda: "cancel: it is CANCELLED" in text_of(app, "#task"))
        await pilot.press("escape", "escape")
        assert len(app.screen_stack) == 1


async def test_a_lost_server_leaves_the_last_numbers(
    engine: Engine, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = pytest.importorskip("leaseq.cli.top.screen")
    await asyncio.to_thread(stage.submit, queue="mail")
    app = screen.TopScreen(engine, EVERYTHING, seconds=0.1)

    async def lost(engine: Engine, wanted: Wanted) -> Look:
        raise ServerUnreachable("Postgres does not answer")

    async with app.run_test(size=(80, 24)) as pilot:
        await shown(pilot, lambda: len(app.rows()) == 1)
        monkeypatch.setattr(screen, "look_at", lost)
        await shown(pilot, lambda: "Postgres does not answer" in text_of(app, "#head"))
        cell = the_table(app).get_row_at(0)[0]
        assert (str(cell), cell.style) == ("mail", "dim")
        monkeypatch.setattr(screen, "look_at", look_at)
        await shown(pilot, lambda: "LOST" not in text_of(app, "#head"))
