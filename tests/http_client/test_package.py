"""leaseq-http is one source for two clients, and needs httpx and msgspec only."""

from __future__ import annotations

import ast
import inspect
import runpy
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

import leaseq_http
from leaseq_http import AsyncClient, Client
from support.source_tree import PACKAGES, ROOT, walk, written

DISTRIBUTION = ROOT / "api" / "leaseq-http"
PACKAGE = PACKAGES["leaseq_http"]
MODULES = [module for module in written() if PACKAGE in module.path.parents]


def test_blocking_client_is_made_from_the_asynchronous_one() -> None:
    make = runpy.run_path(str(DISTRIBUTION / "make_blocking.py"))
    sources = make["sources"]()
    for name, text in make["blocking"](sources).items():
        assert (make["PACKAGE"] / name).read_text(encoding="utf-8") == text, "run `make generated`"
    changed = {name: text.replace("monotonic", "perf_counter") for name, text in sources.items()}
    with pytest.raises(ValueError, match="any more"):
        make["blocking"](changed)


def test_both_clients_have_the_same_methods() -> None:
    def face(kind: type) -> dict[str, list[str]]:
        return {
            name.replace("aclose", "close"): list(inspect.signature(member).parameters)
            for name, member in vars(kind).items()
            if not name.startswith("_")
        }

    assert face(AsyncClient) == face(Client)
    assert len(face(Client)) >= 12


def test_modules_import_only_what_is_required() -> None:
    project = tomllib.loads((DISTRIBUTION / "pyproject.toml").read_text(encoding="utf-8"))
    required = {line.partition(">=")[0] for line in project["project"]["dependencies"]}
    imported = {
        name.partition(".")[0]
        for module in MODULES
        for node in walk(module.tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert required == {"httpx", "msgspec"}
    assert imported - sys.stdlib_module_names == required | {"leaseq_http"}


def test_face_is_sorted_complete_and_documented() -> None:
    shown = {
        name
        for name, value in vars(leaseq_http).items()
        if not name.startswith("_") and not inspect.ismodule(value) and name != "annotations"
    }
    assert set(leaseq_http.__all__) == shown
    documented = [kind for kind in (AsyncClient, Client) for kind in vars(kind).values()]
    silent = [
        member.__qualname__
        for member in documented
        if inspect.isfunction(member) and not member.__name__.startswith("_") and not member.__doc__
    ]
    assert silent == []


def test_packages_hold_the_module_its_marker_and_its_licence(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "--directory", str(tmp_path)]
    subprocess.run(build, cwd=DISTRIBUTION, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as file:
        packed = {name for name in file.namelist() if ".dist-info/" not in name}
        assert any(name.endswith("/licenses/LICENSE") for name in file.namelist())
    assert packed == {
        path.relative_to(DISTRIBUTION).as_posix()
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert "leaseq_http/py.typed" in packed
    (sources,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(sources) as archive:
        assert any(name.endswith("/make_blocking.py") for name in archive.getnames())


def test_licence_is_that_of_leaseq() -> None:
    assert (DISTRIBUTION / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()
