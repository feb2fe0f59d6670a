"""The places that list Python versions agree with the package's classifiers."""

from __future__ import annotations

import re
import tomllib
from itertools import pairwise
from typing import Any

import yaml

from support.pythons import supported
from support.source_tree import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
CHAOS = tomllib.loads((ROOT / "chaos" / "pyproject.toml").read_text(encoding="utf-8"))
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def workflow_run() -> dict[str, Any]:
    """The only run that the public CI file describes."""
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text("utf-8"))
    (run,) = workflow["jobs"].values()
    assert isinstance(run, dict)
    return run


def test_classifiers_have_no_gap_and_begin_with_the_oldest_python() -> None:
    minors = [int(version.partition(".")[2]) for version in supported()]
    assert len(minors) > 1
    assert all(after == before + 1 for before, after in pairwise(minors))
    oldest = supported()[0]
    assert PROJECT["project"]["requires-python"] == f">={oldest}"
    assert CHAOS["project"]["requires-python"] == f">={oldest}"
    tools = PROJECT["tool"]
    assert tools["ruff"]["target-version"] == f"py{oldest.replace('.', '')}"
    assert tools["mypy"]["python_version"] == tools["pyright"]["pythonVersion"] == oldest


def test_ci_runs_on_every_supported_python() -> None:
    assert workflow_run()["strategy"]["matrix"] == {"python": supported()}


def test_ci_runs_the_script_that_guards_a_change_with_the_python_of_the_matrix() -> None:
    steps = workflow_run()["steps"]
    (setup,) = (step for step in steps if step.get("uses", "").startswith("actions/setup-python@"))
    assert setup["with"]["python-version"] == "${{ matrix.python }}"
    (run,) = (step for step in steps if step.get("run") == ".ci/run")
    assert steps.index(run) > steps.index(setup)
    assert run["env"] == {"PYTHON": "python"}
    assert re.search(r"^PYTHON \?=", MAKEFILE, re.MULTILINE), "make ignores the Python of CI"
    assert not any("continue-on-error" in step for step in steps)


def test_ci_actions_are_pinned_by_major_version_or_hash() -> None:
    used = [step["uses"] for step in workflow_run()["steps"] if "uses" in step]
    assert used
    for action in used:
        assert re.fullmatch(r"actions/[a-z-]+@(v\d+|[0-9a-f]{40})", action), action


def test_make_knows_every_supported_python() -> None:
    (compat,) = re.findall(r"^COMPAT_PYTHONS \?= (.+)$", MAKEFILE, re.MULTILINE)
    assert compat.split() == supported()
    (tried,) = re.findall(r"for python in \$\(PYTHON\) python3 (.+); do", MAKEFILE)
    assert tried.split() == [f"python{version}" for version in reversed(supported())]
