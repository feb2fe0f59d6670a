"""The sweep knows every failpoint, and one real cell goes through a crash."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from leaseq.failpoints import POINTS
from leaseq_chaos.history import Kind, Recorder
from leaseq_chaos.sweep.grid import PLACES, Action, Cell, Effects, Provocation, cells
from leaseq_chaos.sweep.noted import Noted
from leaseq_chaos.sweep.outcome import Found, Outcome, Row, complaints
from leaseq_chaos.sweep.paper import draw_grid, draw_page
from leaseq_chaos.sweep.sweep import Options, Sweep, sweep
from leaseq_chaos.verdict import Verdict

TRANSACTIONAL = Cell(point="commit.sent", action=Action.KILL, effects=Effects.TRANSACTIONAL)
PLAIN = Cell(point="settle.sent", action=Action.LOST, effects=Effects.PLAIN)
GOOD = [Row("t1", "k1", "SUCCESS", 1, [], [1]), Row("t2", "k2", "SUCCESS", 3, [1, 2], [3])]


def found(**other: Any) -> Found:
    """The outcome of a cell of two tasks without any error."""
    well = Found(
        acknowledged={"k1": "t1", "k2": "t2"},
        refused=[],
        rows=GOOD,
        noted={"t1": [1], "t2": [1, 3]},
        drained=True,
        leftovers=[],
        cents_changed=0,
    )
    return msgspec.structs.replace(well, **other)


def test_every_failpoint_has_its_place_in_the_grid() -> None:
    assert list(PLACES) == list(POINTS)


def test_the_grid_is_full_but_for_what_a_kind_of_task_does_not_pass() -> None:
    everything = cells(seed=1)
    assert len({cell.name for cell in everything}) == len(everything)
    left_out = sum(1 for place in PLACES.values() if place.only) * len(Action)
    assert len(everything) == len(PLACES) * len(Action) * len(Effects) - left_out
    assert len(everything) >= 308
    assert {cell.place.provocation for cell in everything} == set(Provocation)


def test_the_seed_decides_the_order_and_nothing_else() -> None:
    assert cells(seed=7) == cells(seed=7)
    assert cells(seed=7) != cells(seed=8)
    assert {cell.name for cell in cells(seed=7)} == {cell.name for cell in cells(seed=8)}


def test_a_part_of_the_grid() -> None:
    chosen = cells(seed=1, points=("claim.sent", "commit.sent"), actions=("kill",))
    assert sorted(cell.name for cell in chosen) == [
        "claim.sent kill plain",
        "claim.sent kill transactional",
        "commit.sent kill transactional",
    ]


@pytest.mark.parametrize("cell", [TRANSACTIONAL, PLAIN], ids=lambda cell: cell.effects)
def test_a_good_end_is_not_complained_of(cell: Cell) -> None:
    assert complaints(cell, found(), tasks=2) == []


@pytest.mark.parametrize(
    ("cell", "wrong", "said"),
    [
        (PLAIN, {"refused": ["k3 was refused"]}, "k3 was refused"),
        (PLAIN, {"acknowledged": {"k1": "t1"}}, "of 2 submissions 1 were acknowledged"),
        (
            PLAIN,
            {
                "rows": [*GOOD, Row("t3", "k2", "SUCCESS", 1, [], [])],
                "noted": {"t1": [1], "t2": [3], "t3": [1]},
            },
            "2 tasks",
        ),
        (PLAIN, {"rows": GOOD[:1]}, "task t2 was acknowledged under k2, and is not there"),
        (PLAIN, {"acknowledged": {"k1": "t1", "k2": "t9"}}, "task t9 was acknowledged"),
        (PLAIN, {"rows": [GOOD[0], Row("t2", "k2", "FAILED", 2, [1, 2], [])]}, "task t2 is FAILED"),
        (
            PLAIN,
            {"rows": [GOOD[0], Row("t2", "k2", "SUCCESS", 3, [2], [])]},
            r"attempts before it were \[2\]",
        ),
        (PLAIN, {"noted": {"t1": [1]}}, r"task t2 took effect in attempts \[\]"),
        (
            PLAIN,
            {"noted": {"t1": [2], "t2": [3]}},
            r"task t1 took effect in attempts \[2\], and ended in attempt 1",
        ),
        (
            TRANSACTIONAL,
            {"rows": [GOOD[0], Row("t2", "k2", "SUCCESS", 3, [1, 2], [2, 3])]},
            r"attempts \[2, 3\]",
        ),
        (
            TRANSACTIONAL,
            {"rows": [GOOD[0], Row("t2", "k2", "SUCCESS", 3, [1, 2], [2])]},
            r"attempts \[2\], and ended in attempt 3",
        ),
        (
            TRANSACTIONAL,
            {"rows": [GOOD[0], Row("t2", "k2", "SUCCESS", 3, [1, 2], [])]},
            r"attempts \[\]",
        ),
        (TRANSACTIONAL, {"drained": False}, "it did not drain"),
        (TRANSACTIONAL, {"leftovers": ["a list"]}, "a list still holds something"),
        (TRANSACTIONAL, {"cents_changed": -100}, "changed by -100"),
    ],
)
def test_crash_point_violation_is_reported(cell: Cell, wrong: dict[str, Any], said: str) -> None:
    assert re.search(said, "\n".join(complaints(cell, found(**wrong), tasks=2)))


def test_effects_are_read_once_and_a_torn_line_never(tmp_path: Path) -> None:
    noted, recorder = Noted(tmp_path), Recorder(tmp_path, "handler-1-1")
    recorder.note(Kind.OK, "run", task="t1", attempt=1)
    recorder.note(Kind.OK, "effect", task="t1", attempt=1)
    recorder.note(Kind.OK, "effect", task="t1", attempt=2)
    assert noted.news() == {"t1": [1, 2]}
    recorder.note(Kind.OK, "effect", task="t2", attempt=1)
    recorder.close()
    with (tmp_path / "handler-1-1.jsonl").open("ab") as history:
        history.write(b'{"at": 1, "proc')
    assert noted.news() == {"t2": [1]}
    assert noted.news() == {}


def test_the_papers_tell_green_from_the_rest() -> None:
    bad = Cell(point="reap.moved", action=Action.FLUSHALL, effects=Effects.PLAIN)
    unseen = Cell(point="epoch.beginning", action=Action.STOP, effects=Effects.PLAIN)
    outcomes = [
        Outcome(
            cell=TRANSACTIONAL, verdict=Verdict.VALID, reached_by="worker-1", counts={"reaped": 3}
        ),
        Outcome(
            cell=bad,
            verdict=Verdict.INVALID,
            reached_by="reaper-1",
            complaints=["task <t1> is FAILED"],
        ),
        Outcome(cell=unseen, verdict=Verdict.UNKNOWN, complaints=["nobody came"]),
    ]
    done = Sweep(command="leaseq-chaos sweep", seconds=60, tasks=60, outcomes=outcomes)
    lines = [
        line.split("|")[1:-1] for line in draw_grid(done).splitlines() if line.startswith("| `")
    ]
    rows = {name.strip(" `"): [field.strip() for field in fields] for name, *fields in lines}
    assert rows.keys() == PLACES.keys()
    assert rows["commit.sent"] == ["✓ -", *["· -"] * 6]
    assert rows["reap.moved"] == [*["· ·"] * 6, "· ✕"]
    assert rows["epoch.beginning"][1] == "· ?"
    assert "1 green, 1 not, 1 not reached. Counted on the way: reaped 3." in draw_grid(done)
    page = draw_page(done)
    assert 'data-verdict="invalid"' in page
    assert "task &lt;t1&gt; is FAILED" in page
    assert "<t1>" not in page


@pytest.mark.slow("a cluster, and a part of the sweep")
async def test_a_worker_killed_behind_its_commit_costs_nothing(tmp_path: Path) -> None:
    """One real cell, from an empty machine to its verdict."""
    told: list[Outcome] = []
    options = Options(
        directory=tmp_path / "sweep", lanes=2, points=("commit.sent",), actions=("kill",)
    )
    done = await sweep(options, tell=told.append)
    assert told == done.outcomes
    (outcome,) = told
    assert outcome.complaints == []
    assert outcome.verdict is Verdict.VALID
    assert outcome.reached_by
    assert (
        options.command == "leaseq-chaos sweep --seed 1 --lanes 2 --only commit.sent --action kill"
    )
