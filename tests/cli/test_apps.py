"""Apps that a worker cannot run, or that are unusual during their import."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from leaseq.cli import main
from leaseq.config import Config
from leaseq.embedded.processes import alive
from leaseq.model import State
from support.client import Client
from support.processes import Services


def run_worker(app: str, config: Config, folder: Path, *args: str) -> Result:
    """`leaseq worker` in this process: the tested errors end it before any setup."""
    here = Path.cwd()
    os.chdir(folder)
    try:
        return CliRunner().invoke(main, ["worker", app, *args], env=config.to_env())
    finally:
        os.chdir(here)


@pytest.mark.parametrize("name", ["services", "load", "importlib_own", "frozen"])
def test_the_file_and_line_of_an_error_are_kept_whatever_the_file_is_called(
    name: str, config: Config, tmp_path: Path
) -> None:
    folder = tmp_path / f"pkg_{name}"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / f"{name}.py").write_text("x = 1\nraise ValueError('too hot')\n", encoding="utf-8")
    result = run_worker(f"pkg_{name}.{name}:app", config, tmp_path)
    assert result.exit_code == 1
    assert f'{name}.py", line 2' in result.stderr
    assert "ValueError: too hot" in result.stderr
    assert result.stderr.count('File "') == 1, "and no file of ours"
    assert (
        result.stderr.splitlines()[-1]
        == f"leaseq: pkg_{name}.{name}:app cannot be imported: fix the error above"
    )


@pytest.mark.parametrize("args", [[], ["--queues", "default"]])
def test_an_app_without_handlers_does_not_start(
    args: list[str], config: Config, tmp_path: Path
) -> None:
    (tmp_path / "bare_app.py").write_text(
        "from leaseq import Leaseq\napp = Leaseq()\n", encoding="utf-8"
    )
    result = run_worker("bare_app:app", config, tmp_path, *args)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("leaseq: the app has no handlers")
    assert len(result.stderr.splitlines()) == 1


async def test_an_app_that_runs_a_loop_at_its_import_works_and_hangs_up(
    services: Services, client: Client
) -> None:
    worker = await services.start("worker", "apps.imports_loop:app")
    await worker.hear("worker.opened")
    task = await client.ended(await client.submit("next_one"))
    assert (task.state, task.result) == (State.SUCCESS, b"42")
    children = worker.children
    worker.signal(signal.SIGHUP)
    assert await worker.ended() == 0
    assert not any(alive(pid) for pid in children)
