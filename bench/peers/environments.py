"""Virtual environments of the contenders, one each: their dependencies conflict.

They lie in `.venv-peers/` beside `.venv`, made on demand from `requirements/NAME.txt`, and made
again when that file changes.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from bench.processes import ROOT, BenchFailed

REQUIREMENTS = Path(__file__).parent / "requirements"
ENVIRONMENTS = ROOT / ".venv-peers"
INSTALL_SECONDS = 600.0
EDITABLE = "--editable ."


class Environment:
    """One of them, by the name of its requirements."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.directory = ENVIRONMENTS / name
        self._wanted = (REQUIREMENTS / f"{name}.txt").read_text(encoding="utf-8")
        self._made = self.directory / "made"

    @property
    def _recipe(self) -> str:
        """The installed packages must not differ from this. The needs of leaseq are listed
        elsewhere."""
        ours = (
            (ROOT / "pyproject.toml").read_text(encoding="utf-8")
            if EDITABLE in self._wanted
            else ""
        )
        return self._wanted + ours

    @property
    def pins(self) -> list[str]:
        """The requirements with exact versions; leaseq itself from this checkout."""
        return [line.replace(EDITABLE, "this leaseq") for line in self._wanted.splitlines()]

    @property
    def ready(self) -> bool:
        return self._made.exists() and self._made.read_text(encoding="utf-8") == self._recipe

    def program(self, name: str) -> str:
        """The path of a program in it. Raises `BenchFailed` if it has not been made."""
        if not self.ready:
            raise BenchFailed(
                f"it is not installed: `python -m bench.peers setup {self.name}` says why"
            )
        return str(self.directory / "bin" / name)

    def python_version(self) -> str:
        """As the environment itself notes it."""
        lines = (self.directory / "pyvenv.cfg").read_text(encoding="utf-8").splitlines()
        return next(
            (line.partition("=")[2].strip() for line in lines if line.startswith("version")),
            "unknown",
        )

    def frozen(self) -> list[str]:
        """Every package in it, with its version."""
        return _run(
            [self.program("python"), "-m", "pip", "--disable-pip-version-check", "freeze"]
        ).stdout.splitlines()

    def make(self, python: str) -> None:
        """Make it with this interpreter, if it is not there as it should be. Raises `BenchFailed`,
        with the reason."""
        if self.ready:
            return
        shutil.rmtree(self.directory, ignore_errors=True)
        _checked([python, "-m", "venv", str(self.directory)])
        pip = [
            str(self.directory / "bin" / "python"),
            "-m",
            "pip",
            "--quiet",
            "--disable-pip-version-check",
            "install",
        ]
        _checked([*pip, "--requirement", str(REQUIREMENTS / f"{self.name}.txt")])
        self._made.write_text(self._recipe, encoding="utf-8")


def _checked(command: list[str]) -> None:
    ended = _run(command)
    if ended.returncode:
        lines = [line for line in ended.stderr.splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("ERROR")] or lines or ["no output"]
        raise BenchFailed(errors[0])


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    # A relative path in the requirements is one from the root of the repository.
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=INSTALL_SECONDS
    )
