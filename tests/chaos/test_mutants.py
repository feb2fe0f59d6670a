"""The seeded bugs fit the code, compile, and name their checker.

That each of them is caught is shown by `leaseq-chaos mutants`, which takes longer than a test may.
"""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from leaseq_chaos.checkers.catalogue import CHECKERS
from leaseq_chaos.mutants.catalogue import MUTANTS
from leaseq_chaos.mutants.patching import PACKAGES, Misfit, copy_tree, hunks, patched
from leaseq_chaos.mutants.provocations import PROVOCATIONS
from leaseq_chaos.mutants.table import print_outcome, print_table, word
from leaseq_chaos.mutants.trial import CONTROL, Outcome, Trial, trials_of
from leaseq_chaos.nemesis.catalogue import NEMESES
from leaseq_chaos.verdict import Verdict
from leaseq_chaos.workload.payloads import PAYLOADS

ROOT = Path(__file__).parents[2]
PATCHES = ROOT / "chaos" / "leaseq_chaos" / "mutants" / "patches"
EXAMPLE = "--- a/x.txt\n+++ b/x.txt\n@@ -7,3 +7,3 @@\n one\n-two\n+three\n four\n"


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_tree(tmp_path_factory.mktemp("tree"))


def test_the_copy_has_every_package_whole(tree: Path) -> None:
    for package, part in PACKAGES.items():
        original = {
            path.relative_to(ROOT)
            for path in (ROOT / part / package).rglob("*")
            if path.suffix in {".py", ".sql", ".lua"}
        }
        assert original
        assert {
            path.relative_to(tree)
            for path in (tree / part / package).rglob("*")
            if path.suffix in {".py", ".sql", ".lua"}
        } == original


@pytest.mark.parametrize("name", sorted(MUTANTS))
def test_the_patch_fits_and_what_comes_of_it_knows_every_name(name: str, tree: Path) -> None:
    touched = {tree / hunk.file for hunk in hunks(MUTANTS[name].patch)}
    before = {path: path.read_text(encoding="utf-8") for path in touched}
    try:
        changed = patched(MUTANTS[name].patch, tree)
        assert set(changed) == touched
        for path in changed:
            assert path.read_text(encoding="utf-8") != before[path]
            if path.suffix == ".py":
                lint = [
                    sys.executable,
                    "-m",
                    "ruff",
                    "check",
                    "--isolated",
                    "--select",
                    "F821,F811,E9",
                    str(path),
                ]
                found = subprocess.run(lint, capture_output=True, text=True, check=False)
                assert found.returncode == 0, found.stdout
    finally:
        for path, text in before.items():
            path.write_text(text, encoding="utf-8")


def test_there_is_one_patch_for_each_mutant() -> None:
    assert {path.stem for path in PATCHES.iterdir()} == MUTANTS.keys()
    assert len({mutant.patch for mutant in MUTANTS.values()}) == len(MUTANTS) >= 18


def test_every_file_and_provocation_of_a_mutant_exists_and_is_used() -> None:
    assert {mutant.provocation for mutant in MUTANTS.values()} == PROVOCATIONS.keys()
    for mutant in MUTANTS.values():
        assert mutant.expected
        assert mutant.expected <= CHECKERS.keys(), mutant.name
    for name, scenario in PROVOCATIONS.items():
        assert name == scenario.name
        assert scenario.nemeses.keys() <= NEMESES.keys(), name
        assert scenario.mix.keys() <= PAYLOADS.keys(), name


def test_a_hunk_is_found_wherever_it_has_gone(tmp_path: Path) -> None:
    file = tmp_path / "x.txt"
    file.write_text("zero\none\ntwo\nfour\nfive\n")
    assert patched(EXAMPLE, tmp_path) == [file]
    assert file.read_text() == "zero\none\nthree\nfour\nfive\n"


@pytest.mark.parametrize(
    "text",
    ["one\n2\nfour\n", "one\ntwo\nfour\none\ntwo\nfour\n", ""],
    ids=["changed", "twice", "empty"],
)
def test_a_patch_that_does_not_fit_is_an_error(text: str, tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text(text)
    with pytest.raises(Misfit, match=r"x\.txt"):
        patched(EXAMPLE, tmp_path)
    with pytest.raises(Misfit):
        patched(EXAMPLE, tmp_path / "nowhere")


def test_invalid_patch_is_an_error() -> None:
    with pytest.raises(Misfit, match="no line of a patch"):
        hunks("some words\n")


def test_each_scenario_is_tried_without_a_bug_first() -> None:
    trials = trials_of(MUTANTS.values(), out=Path("out"))
    controls = trials[: len(PROVOCATIONS)]
    assert {trial.provocation for trial in controls} == PROVOCATIONS.keys()
    assert {trial.mutant for trial in controls} == {CONTROL}
    assert [trial.mutant for trial in trials[len(PROVOCATIONS) :]] == list(MUTANTS)
    assert len({trial.directory for trial in trials}) == len(trials)
    some = MUTANTS["claim-without-a-look"]
    assert [(trial.mutant, trial.seed) for trial in trials_of([some], out=Path("out"), seed=7)] == [
        (CONTROL, 7),
        (some.name, 7),
    ]


def outcome(mutant: str, verdict: Verdict, *caught: str, missed: str = "") -> Outcome:
    trial = Trial(mutant=mutant, provocation="duplicates", seed=1, minutes=1, directory=Path("out"))
    missing = [missed] if missed else []
    judged = verdict is not Verdict.UNKNOWN
    return Outcome(
        trial=trial,
        judged=judged,
        verdict=verdict,
        caught=list(caught),
        unsure=[],
        missed=missing,
        said="terminal: ...",
        seconds=1,
    )


def test_only_an_expected_checker_kills_a_mutant() -> None:
    name = "claim-without-a-look"
    assert outcome(name, Verdict.INVALID, "accounts", "terminal").passed
    assert not outcome(name, Verdict.INVALID, "accounts").passed
    assert not outcome(name, Verdict.VALID).passed
    assert not outcome(name, Verdict.UNKNOWN).passed


def test_only_a_valid_run_is_a_control() -> None:
    assert outcome(CONTROL, Verdict.VALID).passed
    assert not outcome(CONTROL, Verdict.INVALID, "reads").passed
    assert not outcome(CONTROL, Verdict.UNKNOWN).passed


def test_the_table_tells_who_survived_and_the_line_why() -> None:
    console = Console(file=io.StringIO(), record=True, width=200)
    killed = outcome("claim-without-a-look", Verdict.INVALID, "terminal")
    survivor = outcome("attempt-counted-at-delivery", Verdict.VALID, missed="clock-worker")
    print_table(console, [survivor, killed, outcome(CONTROL, Verdict.VALID)])
    print_outcome(console, survivor)
    heading, *rows, line = console.export_text().splitlines()
    assert heading.split()[0] == "mutant"
    assert [row.split()[:3] for row in rows] == [
        [CONTROL, "valid", "-"],
        ["attempt-counted-at-delivery", "SURVIVED", "-"],
        ["claim-without-a-look", "killed", "terminal"],
    ]
    assert "SURVIVED" in line
    assert "cannot do clock-worker" in line
    assert (
        word(outcome("claim-without-a-look", Verdict.UNKNOWN))
        == word(outcome(CONTROL, Verdict.UNKNOWN))
        == "BROKE OFF"
    )
