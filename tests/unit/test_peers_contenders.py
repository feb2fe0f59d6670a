"""The list of contenders and their files is complete and minimal."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from bench.peers import environments, rounds
from bench.peers.contenders import CONTENDERS, NAMES, Contender
from bench.peers.environments import REQUIREMENTS, Environment
from bench.peers.measures import MEASURES
from bench.peers.rounds import CRASHES, compare
from bench.peers.scope import Scope
from bench.processes import BenchFailed

ROOT = Path(__file__).parents[2]
SIDES = ROOT / "bench" / "peers" / "sides"
MODULES = sorted(SIDES.glob("on_*.py"))
# Of what a contender brings with it, its module may use this too.
BROUGHT = {
    "celery": set(),
    "pgqueuer": {"asyncpg"},
    "rq": {"redis"},
    "taskiq": {"taskiq_redis"},
    "leaseq": {"msgspec"},
}


def test_every_name_is_there_once_and_leaseq_takes_part() -> None:
    assert len(set(NAMES)) == len(NAMES)
    assert "leaseq" in NAMES


def test_every_module_and_every_requirement_has_a_contender() -> None:
    named = {contender.environment for contender in CONTENDERS}
    assert {module.stem.removeprefix("on_") for module in MODULES} == named
    assert {file.stem for file in REQUIREMENTS.glob("*.txt")} == named


@pytest.mark.parametrize("contender", CONTENDERS, ids=NAMES)
def test_a_contender_is_complete(contender: Contender) -> None:
    assert contender.settings
    assert contender.stores
    assert set(contender.stores) <= {"postgres", "valkey"}
    assert min(contender.tasks, contender.slots, contender.crash_slots, contender.pace_seconds) > 0
    words = (
        *contender.worker,
        *contender.companion,
        *contender.env.values(),
        *contender.reliable_env.values(),
    )
    known = {"slots", *contender.stores}
    assert {name for word in words for name in re.findall(r"{(\w+)}", word)} <= known
    # Several tasks at a time must be asked for, by the command line or by the module itself.
    module = (SIDES / f"on_{contender.environment}.py").read_text(encoding="utf-8")
    assert contender.slots == 1 or "{slots}" in contender.worker or "SLOTS" in module
    tuned = bool(contender.reliable_options or contender.reliable_env) or "RELIABLE" in module
    assert tuned or not contender.reliable


@pytest.mark.parametrize(
    "name", sorted({contender.environment for contender in CONTENDERS} - {"leaseq"})
)
def test_versions_are_exact(name: str) -> None:
    for pin in Environment(name).pins:
        assert re.fullmatch(r"[\w-]+(\[[\w,]+\])?==[\d.]+", pin), pin


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.stem)
def test_a_module_knows_one_contender_and_the_standard_library(module: Path) -> None:
    name = module.stem.removeprefix("on_")
    imported = {
        (node.module if isinstance(node, ast.ImportFrom) else node.names[0].name) or ""
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8")))
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    ours = {one for one in imported if one.startswith("bench.")}
    assert all(one.startswith("bench.peers.sides") for one in ours)
    roots = {one.partition(".")[0] for one in imported - ours}
    assert roots - sys.stdlib_module_names <= {name, *BROUGHT.get(name, set())}


def test_the_common_side_runs_on_the_bare_interpreter() -> None:
    """Without site-packages, as in an environment that has one contender only."""
    names = [path.stem for path in SIDES.glob("*.py") if not path.stem.startswith(("on_", "__"))]
    assert len(names) >= 4
    code = "; ".join(f"import bench.peers.sides.{name}" for name in names)
    subprocess.run([sys.executable, "-S", "-c", code], cwd=ROOT, check=True)


async def test_missing_peer_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def describe() -> dict[str, str]:
        return {"packages": "ours"}

    monkeypatch.setattr(environments, "ENVIRONMENTS", tmp_path)
    monkeypatch.setattr(rounds, "describe", describe)
    comparison = await compare(CONTENDERS, [*MEASURES, *CRASHES], Scope(), at_once=1)
    assert list(comparison.failed) == NAMES
    assert comparison.figures == {}


def test_environment_is_rebuilt_when_its_requirements_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [
        (0, ""),
        (0, ""),
        (0, ""),
        (1, "WARNING: old\nERROR: no such version\nERROR: none at all\n"),
    ]
    commands: list[list[str]] = []

    def run(command: list[str]) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        returncode, said = answers.pop(0)
        (tmp_path / "made" / "thing").mkdir(parents=True, exist_ok=True)
        return subprocess.CompletedProcess(command, returncode, "", said)

    monkeypatch.setattr(environments, "_run", run)
    monkeypatch.setattr(environments, "ENVIRONMENTS", tmp_path / "made")
    monkeypatch.setattr(environments, "REQUIREMENTS", tmp_path)
    (tmp_path / "thing.txt").write_text("thing==1\n", encoding="utf-8")
    with pytest.raises(BenchFailed, match="setup thing"):
        Environment("thing").program("python")
    Environment("thing").make("python3")
    Environment("thing").make("python3")
    assert Environment("thing").program("python") == str(
        tmp_path / "made" / "thing" / "bin" / "python"
    )
    assert [command[1:3] for command in commands] == [["-m", "venv"], ["-m", "pip"]], (
        "the second time there was nothing to do"
    )
    (tmp_path / "thing.txt").write_text("thing==2\n", encoding="utf-8")
    with pytest.raises(BenchFailed, match=r"^ERROR: no such version$"):
        Environment("thing").make("python3")
    assert not Environment("thing").ready


def test_a_misspelt_field_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="slot"):
        msgspec.convert({"name": "x", "slot": 1}, Contender)


async def test_failure_of_a_peer_is_reported_and_does_not_end_the_rest() -> None:
    async def fails() -> int:
        raise KeyError("state")

    async def works() -> int:
        return 1

    played = rounds.Rounds(Scope())
    assert [await played.attempt("one", fails()), await played.attempt("two", works())] == [None, 1]
    assert played.failed == {"one": "'state'"}
