"""The summary of readings into figures."""

from __future__ import annotations

from bench.figures import Figure, Reading, combine, percentile, percentiles
from bench.paper import Report, as_markdown
from bench.scale import Scale


def test_a_percentile_is_one_of_the_values() -> None:
    values = [float(number) for number in range(100, 0, -1)]
    assert [percentile(values, share) for share in (0.0, 0.5, 0.99, 1.0)] == [
        1.0,
        50.0,
        99.0,
        100.0,
    ]
    assert percentile([7.0], 0.99) == 7.0
    assert percentile([1.0, 2.0, 3.0], 0.5) == 2.0


def test_of_few_values_the_p99_is_the_worst() -> None:
    assert [reading.value for reading in percentiles("kill", [3.0, 1.0, 2.0], unit="ms")] == [
        2.0,
        3.0,
        3.0,
    ]


def test_runs_become_one_figure_for_each_name() -> None:
    runs = [
        [Reading("rate", "tasks/s", value), Reading("cost", "us/task", value / 10)]
        for value in (30.0, 10.0, 20.0)
    ]
    rate, cost = combine(runs)
    assert rate == Figure("rate", "tasks/s", [30.0, 10.0, 20.0])
    assert (rate.median, rate.spread) == (20.0, (10.0, 30.0))
    assert cost.median == 2.0


def test_markdown_says_what_was_set_and_what_failed() -> None:
    figures = {"drain-1": [Figure("rate", "tasks/s", [1234.5, 1000.0, 2000.0])]}
    scale = Scale(settings={"concurrency": "10"})
    text = as_markdown(
        Report(machine={"disk": "slow"}, scale=scale, figures=figures, failed={"http": "refused"})
    )
    assert "| rate | tasks/s | 1,234 | 1,000 | 2,000 | 3 |  |  |" in text
    for line in ("- disk: slow", "- set: concurrency = 10", "- FAILED: http: refused"):
        assert line in text.splitlines()
