"""Facts that the code states twice agree.

A list of states in a CHECK constraint, the tree that is drawn at the top of errors.py, the names on
the wire: each is compared with the one place that decides it.
"""

from __future__ import annotations

import inspect
import re
from typing import get_args

from leaseq import errors
from leaseq.api_keys import KEY_ID
from leaseq.dispatch.scripts import SCRIPTS
from leaseq.errors import LeaseqError
from leaseq.ledger.schema import MIGRATIONS
from leaseq.model import NAME, TERMINAL, Lane, Outcome, Priority, State
from leaseq.operations.submission import PRIORITIES
from leaseq_api.problem_kinds import KINDS
from leaseq_api.schemas import PriorityName, StateName
from support.dispatch import KEYS

SCHEMA = "\n".join(migration.sql for migration in MIGRATIONS)


def _names(listed: str) -> set[str]:
    return set(re.findall(r"'(\w+)'", listed))


def test_the_ledger_knows_the_states() -> None:
    (listed,) = re.findall(r"state text not null\s+check \(state in \(([^)]*)\)\)", SCHEMA)
    assert _names(listed) == set(State)


def test_the_ledger_knows_which_states_are_the_end() -> None:
    (listed,) = re.findall(r"\(finished_at is not null\) = \(state in \(([^)]*)\)\)", SCHEMA)
    assert _names(listed) == TERMINAL
    statements = re.findall(r"state in \(([^)]*)\)", SCHEMA)
    assert all(_names(listed) <= set(State) for listed in statements)


def test_the_ledger_records_every_outcome_but_success() -> None:
    (listed,) = re.findall(r"outcome text not null check \(outcome in \(([^)]*)\)\)", SCHEMA)
    assert _names(listed) == set(Outcome) - {Outcome.SUCCEEDED}


def test_the_ledger_knows_the_priorities() -> None:
    (low, high) = re.findall(r"check \(priority between (-?\d) and (-?\d)\)", SCHEMA)[0]
    assert [int(low), int(high)] == [min(Priority), max(Priority)]
    assert set(PRIORITIES.values()) == set(Priority)


def test_the_ledger_and_the_door_refuse_the_same_names() -> None:
    assert set(re.findall(r"~ '\^([^']*)\$'", SCHEMA)) == {NAME.pattern, KEY_ID.pattern}


def test_the_wire_has_the_same_names() -> None:
    assert get_args(StateName) == tuple(State)
    assert set(get_args(PriorityName)) == set(PRIORITIES)


def test_scripts_know_the_lanes() -> None:
    (listed,) = re.findall(r"local lanes = \{(.*?)\}", SCRIPTS["release"])
    assert {lane.strip().partition(" = ")[0] for lane in listed.split(",")} == set(Lane)
    assert KEYS.ready("q", Lane.SUSPECT).endswith(":suspect")
    assert "':suspect'" in SCRIPTS["push"]


def test_the_tree_of_errors_is_drawn_as_it_is() -> None:
    drawn = re.findall(r"^([ |]*)(?:\+-- )?(\w+) {2,}(\w+)$", errors.__doc__ or "", re.MULTILINE)
    told = {name: (len(indent.replace("|", " ")), code) for indent, name, code in drawn}
    kinds = {
        kind.__name__: kind
        for kind in vars(errors).values()
        if inspect.isclass(kind) and issubclass(kind, LeaseqError)
    }
    assert {name: code for name, (_, code) in told.items()} == {
        name: k.code for name, k in kinds.items() if k is not LeaseqError
    }
    for name, (depth, _) in told.items():
        assert (
            depth
            == 4 * len([base for base in kinds[name].__mro__ if base.__module__ == "leaseq.errors"])
            - 4
        ), name


def test_codes_are_unlike_each_other() -> None:
    kinds = [
        kind
        for kind in vars(errors).values()
        if inspect.isclass(kind) and issubclass(kind, LeaseqError)
    ]
    assert len({kind.code for kind in kinds}) == len(kinds)


def test_every_refusal_of_a_submission_has_its_own_problem() -> None:
    codes = {
        kind.code
        for kind in vars(errors).values()
        if inspect.isclass(kind) and issubclass(kind, errors.SubmissionInvalid)
    }
    assert codes <= KINDS.keys()
    assert all(400 <= KINDS[code].status < 500 for code in codes)
