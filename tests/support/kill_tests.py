"""An application under a `leaseq dev` that has no worker of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest
from msgspec import Struct
from msgspec.structs import replace

from leaseq.cli.dev.kill_tests import KillTests
from leaseq.cli.dev.managed_process import ManagedProcess
from leaseq.cli.dev.printer import Printer
from leaseq.config import Config
from support.api import Api, open_api


class Part(Struct, frozen=True):
    """As much of a `ManagedProcess` as a kill test looks at."""

    pid: int | None


@pytest.fixture
async def kill_tests(config: Config, tmp_path: Path) -> AsyncIterator[KillTests]:
    """The side of `leaseq dev`, whose socket is `tmp_path / "dev-1.sock"`."""
    tests = KillTests(
        replace(config, data_dir=tmp_path / "none"),
        tmp_path / "dev-1.sock",
        worker=cast(ManagedProcess, Part(None)),
        printer=Printer(raw=True),
    )
    await tests.open()
    yield tests
    await tests.aclose()


@pytest.fixture
async def breakable(config: Config, tmp_path: Path, kill_tests: KillTests) -> AsyncIterator[Api]:
    """An application with the pages of the kill tests."""
    async with open_api(config, kill_tests=tmp_path / "dev-1.sock") as opened:
        yield opened


__all__ = ["Part", "breakable", "kill_tests"]
