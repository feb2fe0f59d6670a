"""The plan is a function of its seed, with the intended mix."""

from __future__ import annotations

from collections import Counter
from itertools import groupby

import msgspec
import pytest

from leaseq_chaos import rogues
from leaseq_chaos.scenario import Scenario
from leaseq_chaos.workload.client import body_of
from leaseq_chaos.workload.payloads import PAYLOADS
from leaseq_chaos.workload.plan import POISON, Operation, make_plan

SECONDS = 120.0
MIX = {"note": 4.0, "transfer": 3.0, "flaky": 2.0, "later": 1.0, "refuse": 0.5, "segfault": 0.5}
SCENARIO = Scenario(name="test", about="", nemeses={}, mix=MIX, tasks_per_second=60, clients=6)
ACCOUNTS = 20


def plan(*, seed: int = 1, scenario: Scenario = SCENARIO) -> list[Operation]:
    return make_plan(scenario, seed=seed, seconds=SECONDS, accounts=ACCOUNTS)


@pytest.fixture(scope="module")
def usual() -> list[Operation]:
    return plan()


def by_key(operations: list[Operation]) -> dict[str, list[Operation]]:
    keyed = sorted((o for o in operations if o.key is not None), key=lambda o: o.key or "")
    return {key or "": list(group) for key, group in groupby(keyed, key=lambda o: o.key)}


def test_the_same_seed_is_the_same_plan(usual: list[Operation]) -> None:
    assert msgspec.json.encode(plan()) == msgspec.json.encode(usual)
    assert plan(seed=2) != usual


def test_operations_come_in_the_order_of_time_from_every_client(usual: list[Operation]) -> None:
    assert [o.at for o in usual] == sorted(o.at for o in usual)
    assert usual[0].at >= 0
    assert {o.client for o in usual} == set(range(6))


def test_there_are_as_many_tasks_of_each_type_as_the_mix_says(usual: list[Operation]) -> None:
    firsts = [group[0] for group in by_key(usual).values()] + [o for o in usual if o.key is None]
    assert 0.85 * 60 * SECONDS < len(firsts) < 1.15 * 60 * SECONDS
    counted = Counter(o.type for o in firsts)
    assert counted.keys() == MIX.keys()
    for name, weight in MIX.items():
        share = counted[name] / len(firsts)
        assert 0.8 * weight / sum(MIX.values()) < share < 1.2 * weight / sum(MIX.values()), name


def test_every_trouble_occurs(usual: list[Operation]) -> None:
    tasks = len({o.key for o in usual})
    assert 0.003 * tasks < sum(o.key is None for o in usual) < 0.03 * tasks
    assert sum(o.follow for o in usual) > 0.05 * tasks
    assert sum(o.cancel_after is not None for o in usual) > 0.02 * tasks
    assert {o.priority for o in usual} == {None, "high", "low"}
    most_at_once = max(Counter(o.at for o in usual).values())
    assert most_at_once >= 20, "no burst"


def test_twins_are_the_same_submission_of_other_clients_at_the_same_moment(
    usual: list[Operation],
) -> None:
    sizes: Counter[int] = Counter()
    for group in by_key(usual).values():
        same = [o for o in group if o.variant == "a"]
        assert len({(o.at, body_of(o)) for o in same}) == 1
        assert len({o.client for o in same}) == len(same)
        sizes[len(same)] += 1
    assert set(sizes) == {1, 2, 3, 4, 5}


def test_another_body_is_another_payload_of_the_same_type_at_once_or_later(
    usual: list[Operation],
) -> None:
    gaps = []
    for group in by_key(usual).values():
        for other in (o for o in group if o.variant == "b"):
            first = next(o for o in group if o.variant == "a")
            assert other.type == first.type
            assert other.payload != first.payload
            gaps.append(other.at - first.at)
    assert min(gaps) == 0
    assert 1 < max(gaps) <= 5
    assert len(gaps) > 20


def test_poison_is_never_cancelled_and_only_later_is_late(usual: list[Operation]) -> None:
    assert "segfault" in POISON
    assert all(o.cancel_after is None for o in usual if o.type in POISON)
    assert all((o.delay_seconds is not None) == (o.type == "later") for o in usual)


def test_transfers_are_between_two_accounts_that_there_are(usual: list[Operation]) -> None:
    for payload in (o.payload for o in usual if o.type == "transfer"):
        assert 1 <= payload["source"] <= ACCOUNTS
        assert 1 <= payload["target"] <= ACCOUNTS
        assert payload["source"] != payload["target"]
        assert payload["cents"] > 0


def test_one_client_alone_has_no_twins() -> None:
    alone = msgspec.structs.replace(SCENARIO, clients=1)
    same = [
        [o for o in group if o.variant == "a"] for group in by_key(plan(scenario=alone)).values()
    ]
    assert {len(group) for group in same} == {1}


def test_every_type_of_the_plan_has_a_handler_that_takes_its_payload() -> None:
    registered = rogues.app.registry.handlers
    assert registered.keys() == PAYLOADS.keys()
    every = msgspec.structs.replace(SCENARIO, mix=dict.fromkeys(PAYLOADS, 1.0), tasks_per_second=3)
    operations = plan(scenario=every)
    assert {o.type for o in operations} == PAYLOADS.keys()
    for operation in operations:
        registered[operation.type].decode(msgspec.json.encode(operation.payload))
