"""Results of the comparison from the effects of handlers."""

from __future__ import annotations

import json
import os
from argparse import Namespace
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from bench.figures import Figure
from bench.peers import outcomes
from bench.peers.contenders import CONTENDERS
from bench.peers.crew import Kill
from bench.peers.outcomes import Recovery
from bench.peers.ratios import ratio_lines, with_ratios
from bench.peers.report import Comparison, as_markdown, keep
from bench.peers.scope import Scope
from bench.peers.sides import effects, script
from bench.peers.sides.effects import END, START, Effect
from bench.processes import BenchFailed

SECOND = 1_000_000_000
# Two workers; the first has a child.
FIRST, CHILD, SECOND_WORKER, NEXT = 11, 12, 21, 31


def effect(
    kind: int, order_id: int, at: float, pid: int = FIRST, *, submitted: float = 0
) -> Effect:
    return Effect(kind, order_id, int(submitted * SECOND), int(at * SECOND), pid)


def kill(at: float, *pids: int) -> Kill:
    return Kill(int(at * SECOND), frozenset(pids))


def test_a_rate_goes_from_the_first_effect_to_the_last() -> None:
    # In the order in which they were written, which need not be that of their times.
    found = [effect(END, 0, 5.0), effect(END, 2, 7.0), effect(END, 1, 6.0), effect(START, 3, 99.0)]
    assert outcomes.rate(found) == pytest.approx(1.0)


def test_the_middle_rate_is_not_held_up_by_a_worker_that_begins_late() -> None:
    alone = [effect(END, number, float(number)) for number in range(10)]
    both = [effect(END, 10 + number, 10 + number / 10) for number in range(90)]
    assert outcomes.rate(alone + both) == pytest.approx(99 / 18.9)
    assert outcomes.middle_rate(both + alone) == pytest.approx(10.0)


@pytest.mark.parametrize("times", [[], [1.0], [1.0, 1.0]])
def test_measure_without_time_has_no_rate(times: list[float]) -> None:
    with pytest.raises(BenchFailed, match="no rate"):
        outcomes.rate([effect(END, number, at) for number, at in enumerate(times)])


def test_a_task_that_was_done_twice_is_counted_once() -> None:
    found = [effect(END, 0, 1.0), effect(END, 1, 2.0), effect(END, 1, 3.0), effect(END, 1, 4.0)]
    assert outcomes.doubled(found) == 1
    assert outcomes.done(found) == {0: 1, 1: 3}
    assert outcomes.within(found, began_ns=2 * SECOND, ended_ns=3 * SECOND) == 1


def test_a_delay_is_that_of_the_first_time() -> None:
    found = [
        effect(END, 4, 1.0),
        effect(END, 5, 2.5, submitted=2.0),
        effect(END, 5, 9.0, submitted=2.0),
        effect(END, 6, 3.0),
    ]
    assert outcomes.delays_ms(found, range(5, 6)) == [pytest.approx(500.0)]


def test_started_task_is_an_orphan_until_it_is_started_again() -> None:
    found = [
        effect(START, 0, 1.0),
        effect(END, 0, 1.3),
        effect(START, 1, 1.9, CHILD),
        effect(START, 2, 1.8, SECOND_WORKER),
        effect(END, 2, 2.1, SECOND_WORKER),
        effect(START, 1, 6.5, NEXT),
        effect(END, 1, 6.8, NEXT),
    ]
    judged = outcomes.judge(found, [kill(2.0, FIRST, CHILD)], count=3)
    assert (judged.lost, judged.doubled, judged.orphans, judged.never_rerun) == (0, 0, 1, 0)
    assert judged.rerun_seconds == pytest.approx([4.5])
    assert judged.done_seconds == pytest.approx(4.8)


def test_orphan_that_was_not_started_again_is_lost() -> None:
    found = [
        effect(START, 0, 1.9),
        effect(START, 1, 1.9, SECOND_WORKER),
        effect(END, 1, 2.2, SECOND_WORKER),
    ]
    judged = outcomes.judge(found, [kill(2.0, FIRST)], count=3)
    # The third was never begun: lost too, but not an orphan.
    assert (judged.lost, judged.orphans, judged.never_rerun, judged.rerun_seconds) == (2, 1, 1, [])
    assert judged.done_seconds is None


def test_a_task_may_be_orphaned_twice_and_each_kill_counts() -> None:
    found = [
        effect(START, 0, 1.0),
        effect(START, 0, 3.0, NEXT),
        effect(START, 0, 7.0, 41),
        effect(END, 0, 7.3, 41),
    ]
    judged = outcomes.judge(found, [kill(2.0, FIRST), kill(4.0, NEXT)], count=1)
    assert (judged.orphans, judged.never_rerun, judged.doubled) == (2, 0, 0)
    assert judged.rerun_seconds == pytest.approx([1.0, 3.0])


def test_task_done_before_and_after_the_kill_is_doubled_and_no_orphan() -> None:
    found = [
        effect(START, 0, 1.0),
        effect(END, 0, 1.3),
        effect(START, 0, 5.0, NEXT),
        effect(END, 0, 5.3, NEXT),
    ]
    judged = outcomes.judge(found, [kill(2.0, FIRST)], count=1)
    assert (judged.doubled, judged.orphans, judged.lost) == (1, 0, 0)


def test_records_are_appended_whole_and_a_torn_one_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "effects"
    file.touch()
    monkeypatch.setenv("BENCH_EFFECTS", str(file))
    monkeypatch.setattr(effects, "_logs", {})
    effects.record(START, {"order_id": 7, "t": 3, "note": ""})
    effects.record(END, {"order_id": 7, "t": 3, "note": ""})
    (log,) = effects._logs.values()
    os.close(log)
    written = file.read_bytes()
    assert len(written) == 2 * effects.RECORD.size == 80
    begun, ended = effects.unpack(written)
    assert (begun.kind, ended.kind) == (START, END)
    assert {begun[1:3], ended[1:3]} == {(7, 3)}
    assert begun.at_ns <= ended.at_ns
    assert begun.pid == os.getpid()
    assert effects.unpack(written[:-1]) == [begun]


@pytest.mark.parametrize(
    ("mode", "sizes"),
    [
        ("one", [1] * 7),
        ("pace", [1] * 7),
        ("bulk", [3, 3, 1]),
        ("fill", [3, 3, 1]),
        ("flood", [1] * 7),
    ],
)
async def test_a_script_submits_each_order_once(
    mode: str, sizes: list[int], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[list[int]] = []
    monkeypatch.setattr(script, "CHUNK", 3)

    @asynccontextmanager
    async def client() -> AsyncIterator[script.Client]:
        async def one(task: str, payload: script.Payload) -> None:
            await many(task, [payload])

        async def many(task: str, payloads: list[script.Payload]) -> None:
            calls.append([payload["order_id"] for payload in payloads])

        yield script.Client(one, many)

    # A flood does not submit tasks for which it has no time; here it ends for lack of ids.
    seconds = 60.0 if mode == "flood" else 0.0
    await script.submit(
        client,
        Namespace(task="noop", mode=mode, first=100, count=7, seconds=seconds, together=1),
    )
    assert [order_id for call in calls for order_id in call] == list(range(100, 107))
    assert [len(call) for call in calls] == sizes
    said = json.loads(capsys.readouterr().out)
    assert said["count"] == 7
    assert said["began_ns"] < said["ended_ns"]


def test_scripts_that_submit_together_wait_for_the_last_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready = tmp_path / "ready"
    monkeypatch.setenv("BENCH_READY", str(ready))
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            with ready.open("ab") as file:
                file.write(b".")

    monkeypatch.setattr("time.sleep", sleep)
    script.all_ready(1)
    assert not ready.exists(), "a script alone waits for no other"
    script.all_ready(2)
    assert len(waits) == 3


def test_a_ratio_names_its_goal_and_the_range_of_its_pairs() -> None:
    figures = {
        "leaseq": [
            Figure("drain, 1 worker", "tasks/s", [300.0, 200.0, 250.0]),
            Figure("idle latency p50", "ms", [2.0, 1.0, 3.0]),
            Figure("submit in bulk", "tasks/s", [1.0, 1.0, 1.0]),
        ],
        "pgqueuer": [
            Figure("drain, 1 worker", "tasks/s", [100.0, 100.0, 200.0]),
            Figure("idle latency p50", "ms", [2.0, 2.0, 2.0]),
        ],
    }
    rows = [*ratio_lines(figures)][-2:]
    assert rows == [
        "| drain, one worker process | 250 tasks/s | 100 tasks/s | 2.50 | 1.25 to 3.00 | ≥ 2.20 | yes |",
        "| idle latency p50 | 2 ms | 2 ms | 1.00 | 0.50 to 1.50 | ≤ 0.75 | no |",
    ]
    assert [*ratio_lines({"leaseq": figures["leaseq"]})] == []
    document = "# Benchmarks\n\n## Beside the others\n\nother\n"
    once = with_ratios(document, figures, ["- disk: slow"])
    assert once == with_ratios(once, figures, ["- disk: slow"])
    assert once.startswith("# Benchmarks\n\n## Ratio to the fastest rival\n\n| what |")
    assert "\n".join((*rows, "", "- disk: slow", "", "## Beside the others", "", "other")) in once


def test_the_payload_has_about_110_bytes() -> None:
    assert 105 <= len(json.dumps(script.payload(12_345), separators=(",", ":"))) <= 120


def test_the_tables_have_a_row_for_each_contender_and_name_what_failed(tmp_path: Path) -> None:
    comparison = Comparison(
        machine={"disk": "slow"},
        scope=Scope(runs=3),
        contenders=CONTENDERS[:2],
        packages={"leaseq": ["psycopg==3"]},
        figures={
            "leaseq": [
                Figure("drain, 1 worker", "tasks/s", [1200.0, 1000.0, 3000.0]),
                Figure("drain, 1 worker: done twice", "tasks", [0.0, 2.0, 1.0]),
            ],
            "other": [Figure("idle latency p50", "ms", [1.25])],
        },
        crashes={
            "default": {
                "leaseq": [
                    Recovery(0, 1, 2, 0, [3.0, 9.0], 9.5),
                    Recovery(0, 0, 1, 0, [4.0], 4.5),
                    Recovery(0, 0, 2, 0, [1.0, 2.0], 5.5),
                ],
                "other": [Recovery(4, 0, 4, 4, [], None)],
            },
            "none": {},
        },
        failed={"other drain-1": "no worker is left"},
    )
    lines = as_markdown(comparison).splitlines()
    for line in (
        "| contender | drain, 1 worker /s | idle p50 ms |",
        "| leaseq | 1,200 (1,000 to 3,000) | - |",
        "| other | - | 1.25 |",
        "leaseq did 3 tasks twice without any disturbance.",
        "| leaseq | 0 | 0 (0 to 1) | 2 (1 to 2) | 0 | 3.0 | 9.0 | 5.5 (4.5 to 9.5) |",
        "| other | 4 | 0 | 4 | 4 | - | - | - |",
        "- disk: slow",
        "- FAILED: other drain-1: no worker is left",
    ):
        assert line in lines, line
    assert not any("none settings" in line for line in lines)
    file = keep(comparison, tmp_path)
    assert file.name.startswith("peers-")
    assert json.loads(file.read_text(encoding="utf-8"))["figures"]["leaseq"][0]["values"] == [
        1200,
        1000,
        3000,
    ]
