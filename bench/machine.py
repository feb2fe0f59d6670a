"""The machine of a measurement. A figure without it means nothing."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path
from statistics import median
from time import perf_counter

import psutil

from bench.stage import set_up

PACKAGES = (
    *("leaseq", "psycopg", "psycopg-binary", "redis", "hiredis", "uvloop"),
    *("msgspec", "litestar", "httptools", "apscheduler"),
)
SYNCS = 50
BLOCK = b"\0" * 8192
GIB = 1_073_741_824


async def describe() -> dict[str, str]:
    """Hardware, load, disk, servers and packages."""
    async with set_up({}) as stage:
        settings = await stage.witness.settings()
        dispatch = await stage.engine.stores.dispatch_server.settings()
        sync_ms = _sync_seconds(stage.config.data_dir / "sync") * 1e3
    load = ", ".join(f"{number:.1f}" for number in os.getloadavg())
    return {
        "processor": f"{_processor()}, {os.cpu_count()} logical",
        "memory": f"{psutil.virtual_memory().total / GIB:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "load before (1, 5, 15 min)": load,
        "fdatasync of 8 KiB": f"{sync_ms:.2f} ms (median of {SYNCS})",
        "Python": platform.python_version(),
        "Postgres": ", ".join(f"{name} {value}" for name, value in sorted(settings.items()))
        + "; unix socket",
        dispatch[
            "product"
        ]: f"{dispatch['version']}, appendonly {dispatch['aof_enabled']}; unix socket",
        "packages": ", ".join(f"{name} {version(name)}" for name in PACKAGES),
    }


def _processor() -> str:
    """Its name, where the system tells it."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _sync_seconds(file: Path) -> float:
    """The time of one small durable write to the disk: a commit cannot be faster."""
    taken = []
    with file.open("wb") as disk:
        for _ in range(SYNCS):
            began = perf_counter()
            disk.write(BLOCK)
            disk.flush()
            os.fdatasync(disk.fileno())
            taken.append(perf_counter() - began)
    return median(taken)
