"""deploy/Dockerfile: copied files, pip commands, and signals.

The image itself is not built, because these tests need no container engine. The commands of the
first stage run here as they stand there, with a package of our own in place of an index.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import zipfile
from fnmatch import fnmatch
from hashlib import sha256
from pathlib import Path

import pytest

from support.source_tree import DISTRIBUTED, ROOT
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
    """The files that are copied from the repository, in all stages."""
    lines = [
        rest.split()
        for stage in instructions()
        for name, rest in stage
        if name == "COPY" and not rest.startswith("--from")
    ]
    return sorted(source for words in lines for source in words[:-1])


def allowed() -> list[str]:
    """The files that .dockerignore allows: it excludes everything and lists exceptions."""
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    return sorted(rule.removeprefix("!") for rule in rules if rule.startswith("!"))


def test_image_copies_existing_files_and_no_others() -> None:
    assert copied() == allowed()
    assert [name for name in copied() if not (ROOT / name).exists()] == []
    assert not any(fnmatch(".env", rule) for rule in allowed())


def test_image_runs_without_root_and_receives_signals() -> None:
    (_, final) = instructions()
    names = [name for name, _ in final]
    user = dict(final)["USER"]
    assert user not in ("root", "0")
    assert names.index("USER") > max(
        place for place, name in enumerate(names) if name in ("RUN", "COPY")
    )
    entrypoint, command = (json.loads(dict(final)[name]) for name in ("ENTRYPOINT", "CMD"))
    assert entrypoint == ["leaseq"]
    assert parsed(command).params["app"] == "examples.orders:app"


def test_image_installs_the_locked_extras() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
        "optional-dependencies"
    ]
    (installed,) = re.findall(
        r"leaseq\[(.*)\]", (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
    )
    locked = re.findall(r"--extra (\w+)", (ROOT / "Makefile").read_text(encoding="utf-8"))
    assert installed.split(",") == locked
    assert set(locked) <= extras.keys()


def test_pip_takes_only_files_whose_hashes_are_locked() -> None:
    runs = [
        rest for stage in instructions() for name, rest in stage if name == "RUN" and "pip " in rest
    ]
    assert len(runs) == 4
    for rest in runs:
        assert "--no-index" in rest or (
            "--require-hashes" in rest and "--only-binary :all:" in rest
        ), rest


class Stage:
    """The first stage, in a folder of this machine: its files, and its commands as they stand in
    the Dockerfile."""

    def __init__(self, place: Path) -> None:
        self.source, self.wheels, self.index = (place / name for name in ("src", "wheels", "index"))
        self.source.mkdir()
        self.index.mkdir()
        (build, _) = instructions()
        self.commands = [
            shlex.split(rest.replace("/wheels", str(self.wheels)))
            for name, rest in build
            if name == "RUN"
        ]
        for name, rest in build:
            if name == "COPY":
                *sources, target = rest.split()
                for each in sources:
                    self._copy(ROOT / each, self.source / target)

    def offer(self, content: str) -> str:
        """Put a package into the index. Return its hash."""
        path = self.index / "sealed-1.0-py3-none-any.whl"
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("sealed.py", content)
            file.writestr(
                "sealed-1.0.dist-info/METADATA",
                "Metadata-Version: 2.1\nName: sealed\nVersion: 1.0\n",
            )
            file.writestr(
                "sealed-1.0.dist-info/WHEEL",
                "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            )
            file.writestr("sealed-1.0.dist-info/RECORD", "")
        return sha256(path.read_bytes()).hexdigest()

    def run(self, number: int) -> subprocess.CompletedProcess[str]:
        """Run one of the commands. The environment, not the command, says where packages are."""
        program, *arguments = self.commands[number]
        assert program == "pip"
        env = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
        env |= {
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(self.index),
        }
        command = [sys.executable, "-m", "pip", *arguments]
        return subprocess.run(
            command, cwd=self.source, env=env, capture_output=True, text=True, check=False
        )

    @staticmethod
    def _copy(path: Path, target: Path) -> None:
        if path.is_dir():
            shutil.copytree(path, target)
        else:
            target.mkdir(exist_ok=True)
            shutil.copy(path, target)


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


@pytest.mark.slow("pip installs from wheels that are built for it")
def test_a_package_that_changed_since_it_was_locked_is_refused(stage: Stage) -> None:
    wheel_requirements = 0
    locked, served = stage.offer("import os"), stage.offer("import sys")
    (stage.source / "deploy" / "requirements.lock").write_text(
        f"sealed==1.0 --hash=sha256:{locked}\n", encoding="utf-8"
    )
    refused = stage.run(wheel_requirements)
    assert refused.returncode != 0
    assert re.search(rf"Expected sha256 {locked}\s+Got +{served}", refused.stderr), refused.stderr
    assert list(stage.wheels.glob("*")) == []


@pytest.mark.slow("builds the wheel as the image does")
def test_a_whole_wheel_comes_of_it(stage: Stage) -> None:
    wheel_leaseq = 2
    built = stage.run(wheel_leaseq)
    assert built.returncode == 0, built.stderr
    (wheel,) = stage.wheels.glob("*.whl")
    wanted = {
        f"{package}/{path.relative_to(folder).as_posix()}"
        for package, folder in DISTRIBUTED.items()
        for path in folder.rglob("*")
        if path.suffix in (".py", ".sql", ".lua") or path.name == "py.typed"
    }
    assert len(wanted) > 100
    assert wanted - set(zipfile.ZipFile(wheel).namelist()) == set()
