"""Every case is explained from forged facts."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from leaseq.dispatch.delivery_search import DispatchFacts
from leaseq.ledger.failures import FailureSummary
from leaseq.ledger.operation_log import OperationRecord
from leaseq.ledger.services import ServiceRecord
from leaseq.ledger.task_facts import CountedTasks, OpenWorker, Pace, Remembered
from leaseq.model import AttemptRecord, QueueRecord, TaskSummary, WorkerRecord
from leaseq.operations.why.answer import CASES, Why
from leaseq.operations.why.explain import explain
from leaseq.operations.why.facts import Facts, Rules, of_one_tenant, without_contents
from support.prose import all_prose
from support.why import TASK_ID
from support.why_cases import FORGED, Forged


@pytest.mark.parametrize(
    "forged", FORGED, ids=[f"{n}-{forged.case}" for n, forged in enumerate(FORGED)]
)
def test_case_is_explained(forged: Forged) -> None:
    why = explain(forged.facts)
    assert (why.case, why.needs_person, why.next_at) == (
        forged.case,
        forged.needs_person,
        forged.next_at,
    )
    assert forged.sentence in why.sentence
    assert forged.next in why.next
    assert not forged.action or any(forged.action in action for action in why.actions)
    assert why.sentence[0].isupper()
    assert why.sentence.endswith(".")
    assert not why.needs_person or why.actions, "a person learns what to do"


def test_every_case_is_forged() -> None:
    assert {forged.case for forged in FORGED} == set(CASES)


@pytest.mark.parametrize("forged", FORGED, ids=[forged.case for forged in FORGED])
def test_a_bound_key_learns_no_hosts_people_and_numbers(forged: Forged) -> None:
    """The case stays the same, except that the time of a beginning is not estimated."""
    before, after = explain(forged.facts), explain(of_one_tenant(forged.facts))
    assert after.case == before.case
    text = msgspec.json.encode(after).decode()
    for hidden in ("example", "ada@ops", "supervisor 9", "pid 7", "pid 17", "99 ", "3 behind"):
        assert hidden not in text, hidden
    if before.case in ("in_lane", "backlogged"):
        assert after.next_at is None


@pytest.mark.parametrize("forged", FORGED, ids=[forged.case for forged in FORGED])
def test_texts_of_errors_are_left_out_without_payloads(forged: Forged) -> None:
    before, after = explain(forged.facts), explain(without_contents(forged.facts))
    assert after.case == before.case
    assert "no luck" not in msgspec.json.encode(after).decode()


def test_no_text_asks_whether_a_reaper_runs() -> None:
    """That is a fact, and `leaseq why` has it."""
    asks = re.compile(r"is one running|check that one runs|does a reaper run|is a reaper running")
    found = [
        f"{prose.name}:{number} {line}"
        for prose in all_prose()
        if not prose.name.startswith("tests/")
        for number, line in prose.lines
        if asks.search(line)
    ]
    # The migration and the decision record name the question that they answer.
    assert {line.partition(":")[0] for line in found} <= {
        "engine/leaseq/ledger/migrations/0025_services.sql",
        "docs/decisions/0054-services-announce-themselves.md",
    }, found


MOMENTS = st.datetimes(
    min_value=datetime(1970, 1, 1),  # noqa: DTZ001
    max_value=datetime(9999, 12, 31),  # noqa: DTZ001
    timezones=st.just(UTC),
)
JSON = st.one_of(
    st.binary(max_size=9),
    st.sampled_from(
        [b"{}", b"[]", b"null", b'{"code":1}', b'{"code":"lost","message":{}}', b'{"failing":1}']
        + [msgspec.json.encode({"code": code}) for code in ("expired", "crashed", "unknown_type")]
    ),
)


def forge(kind: Any, **fixed: Any) -> st.SearchStrategy[Any]:
    """Any values of a struct."""
    hints = msgspec.structs.fields(kind)
    return st.builds(kind, **({each.name: of(each.type) for each in hints} | fixed))


def of(hint: Any) -> st.SearchStrategy[Any]:
    if "datetime" in str(hint) and "None" in str(hint):
        return st.none() | MOMENTS
    if "datetime" in str(hint):
        return MOMENTS
    if "bytes" in str(hint):
        return (st.none() | JSON) if "None" in str(hint) else JSON
    found: st.SearchStrategy[Any] = st.from_type(hint)
    return found


ANY_FACTS = forge(
    Facts,
    rules=forge(Rules),
    task=st.none() | forge(TaskSummary),
    remembered=st.none() | forge(Remembered),
    queue=st.none() | forge(QueueRecord),
    last_attempt=st.none() | forge(AttemptRecord),
    worker=st.none() | forge(WorkerRecord),
    servers=st.lists(forge(OpenWorker), max_size=2),
    last_server=st.none() | forge(WorkerRecord),
    services=st.lists(forge(ServiceRecord), max_size=2),
    operations=st.lists(forge(OperationRecord), max_size=2),
    dispatch=st.none() | forge(DispatchFacts),
    pace=st.none() | forge(Pace),
    backlog_before=st.none() | forge(CountedTasks),
    failure=st.none() | forge(FailureSummary, in_day=st.integers(0, 10**9)),
)


@settings(deadline=None, max_examples=300)
@given(ANY_FACTS)
def test_any_facts_give_a_sentence(facts: Facts) -> None:
    for each in (facts, of_one_tenant(facts), without_contents(facts)):
        why = explain(each)
        assert why.sentence
        assert why.next
        assert why.case in CASES
        msgspec.json.decode(msgspec.json.encode(why), type=Why)


MIXED = [name for name in Facts.__struct_fields__ if name not in ("now", "rules")]
NUMBERS = st.integers(0, len(FORGED) - 1)


@settings(deadline=None, max_examples=300)
@given(st.lists(NUMBERS, min_size=len(MIXED), max_size=len(MIXED)))
def test_facts_that_contradict_each_other_give_a_sentence(numbers: list[int]) -> None:
    """Each fact from another situation, as if it had changed between two statements."""
    mixed = {
        name: getattr(FORGED[number].facts, name)
        for name, number in zip(MIXED, numbers, strict=True)
    }
    why = explain(replace(FORGED[0].facts, **mixed))
    assert why.sentence
    assert why.task_id in (TASK_ID, "")
