"""The checker of tenants finds an answer about a task of another tenant."""

from __future__ import annotations

from typing import Any

import pytest

from leaseq_chaos.checkers.tenants import check
from leaseq_chaos.evidence import Evidence
from leaseq_chaos.history import Kind
from leaseq_chaos.verdict import Verdict
from support.synthetic_history import Forged


def told(
    *,
    shown: str = "acme",
    row: str = "acme",
    foreign: tuple[Kind, dict[str, Any]] | None = (Kind.FAIL, {"code": "task_not_found"}),
    said: dict[str, str] | None = None,
) -> Evidence:
    """A submission and a read of `acme`, and a request for its task by `default`."""
    run = Forged()
    said = {"variant": "a", "tenant": "acme"} if said is None else said
    heard = {"state": "PENDING", "replayed": False, "tenant": "acme"}
    run.did("submit", (1.0, 1.2), key="k1", task="t1", said=said, heard=heard)
    run.step(1.1, "t1", "PENDING", key="k1", tenant=row)
    run.did(
        "read",
        (2.0, 2.1),
        task="t1",
        said={"tenant": "acme"},
        heard={"state": "PENDING", "tenant": shown},
    )
    if foreign is not None:
        kind, answer = foreign
        run.did(
            "foreign", (3.0, 3.1), kind=kind, task="t1", said={"tenant": "default"}, heard=answer
        )
    return run.evidence()


def test_own_tasks_and_unknown_foreign_ones_are_valid() -> None:
    finding = check(told())
    assert finding.verdict is Verdict.VALID
    assert finding.facts["foreign requests answered"] == 1
    assert check(told(foreign=None)).verdict is Verdict.VALID


@pytest.mark.parametrize(
    ("evidence", "words"),
    [
        (told(shown="default"), "was shown a task of default"),
        (told(row="default"), "the ledger has this task for default"),
        (told(foreign=(Kind.OK, {"tenant": "acme"})), "was shown a task of another tenant"),
        (told(foreign=(Kind.FAIL, {"code": "task_conflict"})), "which tells that it exists"),
        (told(foreign=(Kind.FAIL, {"code": "tenant_forbidden"})), "which tells that it exists"),
    ],
)
def test_an_answer_about_another_tenant_is_found(evidence: Evidence, words: str) -> None:
    finding = check(evidence)
    assert finding.verdict is Verdict.INVALID
    assert any(words in each.said and each.task == "t1" for each in finding.violations)


def test_without_an_answered_foreign_request_nothing_is_known() -> None:
    finding = check(told(foreign=(Kind.INFO, {"error": "reset"})))
    assert finding.verdict is Verdict.UNKNOWN
