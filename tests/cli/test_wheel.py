"""The wheel: every file of the dashboard, and a first run from it in a browser.

The wheel is installed into a new environment without its dependencies, without a registry and
without Node. The dependencies are those of the environment of the tests, which does not lend leaseq.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from msgspec.structs import replace

from leaseq_chaos.pace import Pace
from support.browser import browsing
from support.dev_command import Starter
from support.source_tree import PACKAGES, ROOT

PAYLOAD = {"order_id": "1", "customer": "ada", "cents": "500"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this tree."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "--directory", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (found,) = folder.glob("*.whl")
    return found


@pytest.mark.slow("builds the wheel, installs it and starts `leaseq dev` from it")
def test_every_file_of_the_packages_is_in_the_wheel(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as file:
        packed = {name: file.read(name) for name in file.namelist()}
    missing = [
        str(path)
        for name in ("leaseq", "leaseq_api", "leaseq_reaper")
        for path in PACKAGES[name].rglob("*")
        if path.is_file()
        and "__pycache__" not in path.parts
        and packed.get(path.relative_to(PACKAGES[name].parent).as_posix()) != path.read_bytes()
    ]
    assert missing == []
    names = "\n".join(packed)
    for name in ("ui/static/style.css", "ui/vendor/idiomorph.min.js", "ui/vendor/LICENSE.txt"):
        assert f"leaseq_api/{name}" in names
    assert "licenses/LICENSE" in names
    assert not [name for name in packed if name.startswith(("tests/", "bench/", "leaseq_chaos/"))]


@pytest.mark.slow("builds the wheel, installs it and starts `leaseq dev` from it")
async def test_a_first_run_from_the_wheel(
    wheel: Path, starter: Starter, data_dir: Path, tmp_path: Path, pace: Pace
) -> None:
    starter.config = replace(
        starter.config,
        postgres_url=None,
        handler_postgres_url=None,
        redis_url=None,
        data_dir=data_dir,
    )
    python = await asyncio.to_thread(install, wheel, tmp_path / "new")
    shutil.copytree(ROOT / "examples", starter.folder / "examples")
    called = tmp_path / "called"
    path = f"{programs_of_node(tmp_path / 'node', called)}:{python.parent}:{os.defpath}"
    dev = await starter.dev("--no-reload", app="examples.orders:app", python=python, PATH=path)
    await dev.say("worker.opened")
    await dev.say("ready: ")
    async with browsing(tmp_path / "profile") as tab:
        origin = f"http://127.0.0.1:{dev.port}"
        await tab.visit(f"{origin}/ui")
        assert "Submit a task of type charge" in await tab.text("#first")
        for name, value in PAYLOAD.items():
            label = f"find((each) => each.textContent.startsWith({name!r}))"
            labels = "[...document.querySelectorAll('#first label')]"
            await tab.run(f"{labels}.{label}.control.value = {value!r}")
        await tab.submit("#first button")
        await tab.run("window.untouched = true; window.began = performance.now()")
        await tab.until("document.querySelector('#task .state.is-success')")
        took = await tab.run("performance.now() - window.began") / 1000
        assert await tab.run("window.untouched")
        assert took < 2.0 * pace.slowness
        sent = {urlsplit(each["url"]) for each in tab.requests}
        assert {f"{url.scheme}://{url.netloc}" for url in sent if url.scheme != "data"} == {origin}
        assert tab.errors == []
    assert not await asyncio.to_thread(called.exists)


def programs_of_node(folder: Path, called: Path) -> Path:
    """Programs in place of those of Node, which fail and leave a mark."""
    folder.mkdir()
    for name in ("node", "nodejs", "npm", "npx"):
        (folder / name).write_text(
            f"#!/bin/sh\necho {name} >> {called}\nexit 1\n", encoding="utf-8"
        )
        (folder / name).chmod(0o755)
    return folder


def install(wheel: Path, folder: Path) -> Path:
    """A new environment with the wheel; returns its Python."""
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))
    with zipfile.ZipFile(wheel) as file:
        file.extractall(packages)
    # A line of a .pth file is a folder whose own .pth files are not read, so the editable leaseq of
    # this environment is not found by it.
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    where = subprocess.run(
        [python, "-P", "-c", "import leaseq_api; print(leaseq_api.__file__)"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert str(folder) in where.stdout
    return python
