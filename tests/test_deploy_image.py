"""Is everything there that deploy/Dockerfile copies, does a wheel come of it, and do signals arrive?

The image itself is not built: no container engine is asked for by these tests.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tomllib
import zipfile
from fnmatch import fnmatch
from pathlib import Path

import pytest

from source_tree import PACKAGES, ROOT
from test_deploy import parsed

Instruction = tuple[str, str]


def instructions() -> list[list[Instruction]]:
    """The instructions of each stage: name and the rest."""
    text = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    stages: list[list[Instruction]] = []
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        name, _, rest = line.partition(" ")
        if name == "FROM":
            stages.append([])
        stages[-1].append((name, rest.strip()))
    return stages


def copied() -> list[str]:
    """What is copied from the repository, in all stages."""
    lines = [rest.split() for stage in instructions() for name, rest in stage if name == "COPY" and not rest.startswith("--from")]
    return sorted(source for words in lines for source in words[:-1])


def allowed() -> list[str]:
    """What .dockerignore lets through: it shuts everything out, and names what may come in."""
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    return sorted(rule.removeprefix("!") for rule in rules if rule.startswith("!"))


def test_what_is_copied_is_there_and_is_all_that_gets_in() -> None:
    assert copied() == allowed()
    assert [name for name in copied() if not (ROOT / name).exists()] == []
    assert not any(fnmatch(".env", rule) for rule in allowed())


def test_it_does_not_run_as_root_and_hears_signals() -> None:
    (_, final) = instructions()
    names = [name for name, _ in final]
    user = dict(final)["USER"]
    assert user not in ("root", "0")
    assert names.index("USER") > max(place for place, name in enumerate(names) if name in ("RUN", "COPY"))
    entrypoint, command = (json.loads(dict(final)[name]) for name in ("ENTRYPOINT", "CMD"))
    assert entrypoint == ["leaseq"]
    assert parsed(command).params["app"] == "examples.orders:app"


def test_the_extras_that_it_installs_exist() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    text = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
    assert text.count("[api,reaper]") == 2
    assert {"api", "reaper"} <= extras.keys()


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    """Built in a place where there is nothing but what the first stage copies."""
    source = tmp_path / "source"
    source.mkdir()
    (build, _) = instructions()
    for name, rest in build:
        if name == "COPY":
            *sources, _ = rest.split()
            for each in sources:
                path = ROOT / each
                shutil.copytree(path, source / each) if path.is_dir() else shutil.copy(path, source / each)
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    built = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    (found,) = tmp_path.glob("*.whl")
    return found


def test_a_whole_wheel_comes_of_it(wheel: Path) -> None:
    wanted = {
        f"{package}/{path.relative_to(folder).as_posix()}"
        for package, folder in PACKAGES.items()
        for path in folder.rglob("*")
        if path.suffix in (".py", ".sql", ".lua") or path.name == "py.typed"
    }
    assert len(wanted) > 100
    assert wanted - set(zipfile.ZipFile(wheel).namelist()) == set()
