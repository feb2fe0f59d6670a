"""A failpoint acts once, and every name stands for one place in the code."""

from __future__ import annotations

import ast
import os
import re
import signal
import subprocess
import sys
import timeit
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from leaseq import failpoints
from leaseq.errors import ServerUnreachable
from leaseq.failpoints import POINTS, VARIABLE, reach
from support.source_tree import ROOT, calls, services

POINT = "claim.sent"


@pytest.fixture
def armed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory that this process looks at."""
    monkeypatch.setattr(failpoints, "_directory", str(tmp_path))
    return tmp_path


def test_without_the_variable_nothing_happens_and_it_costs_next_to_nothing(tmp_path: Path) -> None:
    (tmp_path / POINT).write_text("error")
    assert os.environ.get(VARIABLE) is None
    reach(POINT)
    assert (tmp_path / POINT).exists()
    # Some 30 ns; the limit leaves room for a machine that is busy.
    assert min(timeit.repeat(lambda: reach(POINT), number=10_000, repeat=5)) / 10_000 < 1e-6


@pytest.mark.parametrize(
    ("action", "given", "raised"),
    [
        ("error", {}, RuntimeError),
        ("lost\n", {}, ServerUnreachable),
        ("lost", {"lost": ConnectionResetError}, ConnectionResetError),
        ("explode", {}, ValueError),
    ],
)
def test_failpoint_file_acts_once(
    armed: Path, action: str, given: dict[str, type[Exception]], raised: type[Exception]
) -> None:
    (armed / POINT).write_text(action)
    reach("claim.sending")
    with pytest.raises(raised, match=re.escape(POINT)):
        reach(POINT, **given)
    reach(POINT, **given)
    assert [file.name for file in armed.iterdir()] == [f"{POINT}.reached-{os.getpid()}"]


# Says when it is there, waits for a line, reaches the point again and again, and ends with 0.
RACER = """
import sys
from leaseq.failpoints import reach
print(flush=True)
sys.stdin.readline()
for _ in range(2000):
    reach(sys.argv[1])
"""


def _start(directory: Path) -> subprocess.Popen[bytes]:
    env = os.environ | {VARIABLE: str(directory)}
    command = [sys.executable, "-c", RACER, POINT]
    return subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def _go(*processes: subprocess.Popen[bytes]) -> None:
    for process in processes:
        assert process.stdout is not None
        process.stdout.readline()
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(b"\n")
        process.stdin.flush()


def test_of_two_processes_one_is_killed(tmp_path: Path) -> None:
    with _start(tmp_path) as one, _start(tmp_path) as other:
        (tmp_path / POINT).write_text("kill")
        _go(one, other)
        codes = {racer.pid: racer.wait() for racer in (one, other)}
    assert sorted(codes.values()) == [-signal.SIGKILL, 0]
    (dead,) = [pid for pid, code in codes.items() if code]
    assert [file.name for file in tmp_path.iterdir()] == [f"{POINT}.reached-{dead}"]


def test_stopped_process_continues_after_sigcont(tmp_path: Path) -> None:
    with _start(tmp_path) as process:
        (tmp_path / POINT).write_text("stop")
        _go(process)
        stopped = os.waitid(os.P_PID, process.pid, os.WSTOPPED)
        assert stopped is not None
        assert stopped.si_status == signal.SIGSTOP
        process.send_signal(signal.SIGCONT)
        assert process.wait() == 0


def _reached() -> Iterator[tuple[str, str]]:
    for module in services():
        for call in calls(module, "reach"):
            name = call.args[0]
            assert isinstance(name, ast.Constant), (
                f"{module.name}:{call.lineno}: the name of a point is written out"
            )
            yield str(name.value), module.name


def test_every_point_is_one_place_in_the_code_and_every_place_has_a_name() -> None:
    places = Counter(point for point, _ in _reached())
    assert places == Counter(POINTS.keys())
    assert {module.partition("/")[0] for _, module in _reached()} == {"api", "engine", "reaper"}


def test_the_document_says_the_same() -> None:
    written = (ROOT / "docs" / "failpoints.md").read_text(encoding="utf-8")
    assert dict(re.findall(r"^\| `([a-z]+\.[a-z]+)` \| (.+) \|$", written, re.MULTILINE)) == POINTS
