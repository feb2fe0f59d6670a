"""The counts of a process are handed over once, and are bounded."""

from __future__ import annotations

import msgspec
import pytest
from docs.make_metrics import TARGET, page
from hypothesis import given
from hypothesis import strategies as st

from leaseq.metrics.catalogue import METRICS
from leaseq.metrics.exposition import EXPOSED, Exposition
from leaseq.metrics.tally import BOUNDS, MOST_PAIRS, OTHER, Series, Tally
from leaseq.model import Outcome, State
from support.metrics import OPENMETRICS, Scraped, parse

DURATION = "leaseq_attempt_duration_seconds"


async def exposed(tally: Tally, accept: str = "") -> Scraped:
    text, content_type = await Exposition("worker", tally.series).render(accept)
    return parse(text.decode(), content_type)


async def test_an_ending_counts_once_in_each_metric() -> None:
    tally = Tally()
    counts = tally.of_task("billing", "charge")
    for waited in (0.001, 0.2, 0.0):
        counts.starts.append(waited)
    counts.successes.append(0.5)
    counts.settled(Outcome.ERRORED, State.SCHEDULED, 2.0)
    counts.lost(State.FAILED)
    found = await exposed(tally)
    where = {"queue": "billing", "type": "charge"}
    assert found.total("leaseq_attempts_started_total", **where) == 3
    assert found.total("leaseq_wait_seconds_count", **where) == 3
    assert found.total("leaseq_wait_seconds_sum", **where) == pytest.approx(0.201)
    assert found.total("leaseq_attempts_total", **where) == 3
    assert found.total("leaseq_attempts_total", outcome="errored") == 1
    assert found.total("leaseq_tasks_ended_total", state="SUCCESS") == 1
    assert found.total("leaseq_tasks_ended_total", state="FAILED") == 1
    assert found.total("leaseq_tasks_ended_total") == 2, "a retry is no end"
    assert found.total(f"{DURATION}_count") == 2, "a lost attempt has no duration"
    assert found.total(f"{DURATION}_sum") == 2.5


@given(st.lists(st.floats(min_value=0, max_value=1e6) | st.sampled_from(BOUNDS)))
def test_the_runs_of_attempts_are_counted_as_one_by_one(values: list[float]) -> None:
    together, alone = Tally(), Tally()
    together.of_task("q", "t").starts.extend(values)
    for value in values:
        alone.observe("leaseq_wait_seconds", value, "q", "t")
    counted = [each.counts for each in together.series() if each.name == "leaseq_wait_seconds"]
    assert counted == [each.counts for each in alone.series()]


async def test_handed_over_counts_are_added_up_and_not_kept() -> None:
    child, supervisor = Tally(), Tally()
    for _ in range(2):
        child.of_task("billing", "charge").successes.append(0.1)
        child.count("leaseq_attempts_fenced_total", "billing")
        sent = msgspec.json.encode(child.take())
        supervisor.add(msgspec.json.decode(sent, type=tuple[Series, ...]))
    assert child.take() == []
    found = await exposed(supervisor)
    assert found.total("leaseq_attempts_total") == 2
    assert found.total("leaseq_attempts_fenced_total") == 2
    assert found.total(f"{DURATION}_count") == 2


async def test_a_supervisor_adds_its_own_counts_to_those_of_its_children() -> None:
    """A series that stands twice in an answer is dropped by Prometheus."""
    child, supervisor = Tally(), Tally()
    child.of_task("q", "t").settled(Outcome.ERRORED, State.FAILED, 2.0)
    supervisor.add(child.take())
    supervisor.of_task("q", "t").lost(State.FAILED)
    for accept in ("", OPENMETRICS):
        found = await exposed(supervisor, accept)
        each = [(sample.name, *sample.labels.items()) for sample in found.samples]
        assert len(each) == len(set(each))
        assert found.total("leaseq_tasks_ended_total", state="FAILED") == 2
        assert found.total("leaseq_attempt_duration_seconds_count") == 1


async def test_two_sources_of_a_gauge_are_one_series() -> None:
    tally = Tally()
    tally.set("leaseq_store_up", 0, "ledger")
    later = [Series("leaseq_store_up", ("ledger",), 1)]
    text, content_type = await Exposition("worker", tally.series, lambda: later).render("")
    assert parse(text.decode(), content_type).total("leaseq_store_up", store="ledger") == 1


def test_series_of_another_version_are_left_out() -> None:
    supervisor = Tally()
    supervisor.add([Series("leaseq_from_the_future_total", (), 1)])
    assert list(supervisor.series()) == []


async def test_a_bucket_counts_the_values_up_to_its_bound() -> None:
    values = [0.0001, BOUNDS[0], 0.0012, 1.0, 1.1, 3.0, 5_000.0]
    tally = Tally()
    for value in values:
        tally.of_task("a", "b").successes.append(value)
    found = await exposed(tally)
    for bound in EXPOSED:
        below = sum(value <= bound for value in values)
        (count,) = [
            sample.value
            for sample in found.samples
            if sample.name == f"{DURATION}_bucket" and sample.labels["le"] != "+Inf"
            if float(sample.labels["le"]) == bound
        ]
        assert count == below, bound
    assert found.total(f"{DURATION}_bucket", le="+Inf") == len(values)


async def test_ten_thousand_types_are_few_series() -> None:
    tally = Tally()
    for number in range(10_000):
        tally.of_task("billing", f"type{number}").successes.append(0.1)
    found = await exposed(tally)
    series = [each for each in found.samples if each.name == "leaseq_attempts_total"]
    assert len(series) == MOST_PAIRS + 1
    assert found.total("leaseq_attempts_total", type=OTHER) == 10_000 - MOST_PAIRS
    assert found.total("leaseq_attempts_total", queue="billing") == 10_000


async def test_ten_thousand_queues_are_few_series() -> None:
    tally = Tally()
    for number in range(10_000):
        tally.count("leaseq_attempts_fenced_total", f"queue{number}")
        tally.of_task(f"queue{number}", "t").lost(State.PENDING)
    found = await exposed(tally)
    for name in ("leaseq_attempts_fenced_total", "leaseq_attempts_total"):
        assert len([each for each in found.samples if each.name == name]) <= 2 * MOST_PAIRS + 1
        assert found.total(name) == 10_000


async def test_both_formats_tell_the_same() -> None:
    tally = Tally()
    tally.of_task('a"\\', "b").successes.append(0.1)
    plain, open_metrics = await exposed(tally), await exposed(tally, OPENMETRICS)
    assert plain.total("leaseq_attempts_total", queue='a"\\') == 1
    assert ours(plain) == ours(open_metrics)


def ours(found: Scraped) -> set[tuple[object, ...]]:
    """All series but those of the process, which change from scrape to scrape."""
    return {
        (each.name, *each.labels.items(), each.value)
        for each in found.samples
        if not each.name.startswith("process_")
    }


async def test_each_metric_of_a_role_is_exposed_with_its_unit() -> None:
    found = await exposed(Tally(), OPENMETRICS)
    for name, metric in METRICS.items():
        if "worker" in metric.roles:
            family = found.families[name.removesuffix("_total").removesuffix("_info")]
            assert family.documentation == metric.text
            assert family.type == metric.kind
            assert family.unit == metric.unit
            assert name.endswith(metric.unit)


def test_the_page_of_metrics_is_made_from_the_catalogue() -> None:
    assert TARGET.read_text(encoding="utf-8") == page(), "run `make generated`"
