"""Every error outside of leaseq becomes one line.

Real processes, since a stream is closed before Python starts. Each is started beside the others.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from leaseq.cli import main
from leaseq.cli.signals import signal_gate
from leaseq.config import Config
from leaseq.embedded.processes import alive
from support.cli import Command, Stage
from support.processes import environment

TESTS = Path(__file__).parents[1]
TEXT = "é漢\u202e"


class Run:
    """A command as a process of its own, with streams of the test's choice."""

    def __init__(
        self, config: Config, *args: str | bytes, closed: tuple[int, ...] = (), **options: Any
    ) -> None:
        env = environment(config) | {"LEASEQ_LOG_FORMAT": "auto"} | options.pop("env", {})

        closing = " ".join(f"{number}>&-" for number in closed)
        shell = ["sh", "-c", f'exec "$@" {closing}', "sh"] if closed else []
        streams = {
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
        } | options
        self.process = subprocess.Popen(
            [*shell, sys.executable, "-m", "leaseq", *args], env=env, cwd=TESTS, **streams
        )

    def end(self) -> tuple[int, bytes, str]:
        with self.process:
            streams: Any = self.process.communicate(timeout=120)
        out, err = streams
        return self.process.returncode, out or b"", (err or b"").decode()


@pytest.fixture
def task_id(stage: Stage) -> str:
    """A task with many characters in it."""
    payload = msgspec.json.encode({"text": TEXT})
    task_id: str = stage.submit(payload=payload)
    worker = stage.open_worker()
    stage.succeed(stage.claim(task_id, worker), payload)
    return task_id


@pytest.mark.slow("a program for each encoding and stream")
def test_no_encoding_and_no_stream_makes_a_traceback(config: Config, task_id: str) -> None:
    broken, reader = os.pipe()[::-1]
    os.close(reader)
    with Path("/dev/full").open("wb") as full:
        runs = {
            "latin-1": Run(config, "show", task_id, env={"PYTHONIOENCODING": "latin-1"}),
            "ascii": Run(
                config, "show", task_id, "--json", env={"PYTHONIOENCODING": "ascii:strict"}
            ),
            "result": Run(config, "wait", task_id, env={"PYTHONIOENCODING": "ascii:strict"}),
            "full": Run(config, "show", task_id, "--json", stdout=full),
            "full error": Run(config, "show", "17", stderr=full),
            "no reader": Run(config, "list", stdout=broken),
            "closed output": Run(config, "show", task_id, closed=(1,)),
            "closed error": Run(config, "show", "17", closed=(2,)),
            "closed input": Run(config, "submit", "add", "-", closed=(0,)),
            "all closed": Run(config, "list", closed=(0, 1, 2)),
            "bytes": Run(config, "submit", "add", "{}", "--key", b"\xff\xfe"),
        }
    os.close(broken)
    ended = {name: run.end() for name, run in runs.items()}
    for name, (code, out, err) in ended.items():
        assert "Traceback" not in err + out.decode("latin-1"), (name, err)
        assert "Exception" not in err, (name, err)
        assert err.count("\n") <= 1, (name, err)
        assert code in (0, 1, 2), (name, err)
    assert b'{"text":"\xe9\\u6f22\\u202e"}' in ended["latin-1"][1]
    assert msgspec.json.decode(ended["ascii"][1])["payload"] == {"text": TEXT}
    assert msgspec.json.decode(ended["result"][1]) == {"text": TEXT}
    assert ended["ascii"][1].isascii()
    assert ended["full"][0] == 1
    assert (
        ended["full"][2]
        == "leaseq: the answer cannot be written: No space left on device: free disk space, or write to another file\n"
    )
    assert (ended["full error"][0], ended["no reader"][0], ended["no reader"][2]) == (2, 1, "")
    assert (ended["closed output"][0], ended["closed error"][0], ended["all closed"][0]) == (
        0,
        2,
        0,
    )
    assert (ended["closed input"][0], "payload is not valid JSON" in ended["closed input"][2]) == (
        2,
        True,
    )
    assert (ended["bytes"][0], ended["bytes"][2][:33]) == (2, "leaseq: argument 5 is not UTF-8: ")


def as_file(path: Path) -> Path:
    path.write_text("I am a file", encoding="utf-8")
    return path


def as_loop(path: Path) -> Path:
    path.symlink_to(path)
    return path


DIRECTORIES: dict[str, Callable[[Path], Path]] = {
    "file": as_file,
    "below a file": lambda path: as_file(path) / "data",
    "a loop of links": as_loop,
    "a long name": lambda path: path / ("x" * 300),
    "a device": lambda _: Path("/dev/null"),
    "below a device": lambda _: Path("/dev/null/data"),
    "unwritable": lambda _: Path("/proc/nothing"),
}


@pytest.mark.parametrize("name", DIRECTORIES)
def test_unusable_data_directory_is_reported_in_one_line(
    name: str, tmp_path: Path, leaseq: Command
) -> None:
    where = DIRECTORIES[name](tmp_path / "data")
    env: dict[str, Any] = {
        f"LEASEQ_{url}_URL": None for url in ("POSTGRES", "HANDLER_POSTGRES", "REDIS")
    }
    env["LEASEQ_DATA_DIR"] = str(where)
    for args in (["submit", "add"], ["migrate"], ["list"]):
        result = leaseq(*args, **env)
        assert result.exit_code in (2, 4), result.stderr
        assert result.stdout == ""
        assert len(result.stderr.splitlines()) == 1
        assert result.stderr.startswith("leaseq: ")
        assert "unexpected" not in result.stderr
        assert (
            "LEASEQ_DATA_DIR" in result.stderr
            or "data directory" in result.stderr
            or "LEASEQ_POSTGRES_URL" in result.stderr
        )
    checked = leaseq("check", **env)
    assert (checked.exit_code, checked.stderr) == (1, "")
    assert "fault" in checked.stdout


def test_removed_current_directory_is_reported(config: Config, tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    command = 'cd "$0" && rmdir "$0" && exec "$@"'
    env = environment(config) | {"PYTHONSAFEPATH": "1"}
    ran = subprocess.run(
        ["sh", "-c", command, tmp_path / "gone", sys.executable, "-m", "leaseq", "worker", "x:app"],
        env=env,
        capture_output=True,
        check=False,
        text=True,
    )
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.splitlines()[-1].startswith("leaseq: the current directory is gone")
    assert len(ran.stderr.splitlines()) == 1


def test_an_unforeseen_error_is_one_line_with_its_place_and_without_its_words(
    leaseq: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError(f"postgresql://u:{secret}@host")

    secret = "s3cret"

    monkeypatch.setattr("leaseq.cli.commands.tasks.reading", fail)
    result = leaseq("list")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(
        f"leaseq: unexpected RuntimeError in {Path(__file__).name}, line "
    )
    assert len(result.stderr.splitlines()) == 1
    told = leaseq("list", LEASEQ_LOG_LEVEL="debug").stderr
    assert 'tasks.py", line' in told
    assert "s3cret" not in told + result.stderr


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["sumbit"], "leaseq: No such command 'sumbit'"),
        (["list", "--stat", "x"], "leaseq: No such option '--stat'"),
        (["submit"], "leaseq: Missing argument 'TYPE': see `leaseq submit --help`"),
        (["list", "--limit", "0"], "leaseq: Invalid value for '--limit'"),
        (["queues", "pause"], "leaseq: Missing argument 'NAME': see `leaseq queues pause --help`"),
        (["demo", "--tasks", "1"], "leaseq: Invalid value for '--tasks'"),
    ],
)
def test_a_mistake_in_the_command_line_is_one_line(args: list[str], said: str) -> None:
    result = CliRunner().invoke(main, args, prog_name="leaseq")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(said)
    assert len(result.stderr.splitlines()) == 1
    assert "--help`" in result.stderr


def test_hanging_up_stops_embedded_servers(config: Config, data_dir: Path) -> None:
    code = (
        "import os, signal, sys; from leaseq.cli.servers import held_servers; from leaseq.config import Config\n"
        "with held_servers(Config.from_env(), unfinished=False) as ready:\n"
        "    print('held', flush=True); signal.pause()"
    )
    env = environment(config) | {"LEASEQ_DATA_DIR": str(data_dir)}
    for name in ("LEASEQ_POSTGRES_URL", "LEASEQ_HANDLER_POSTGRES_URL", "LEASEQ_REDIS_URL"):
        env.pop(name, None)
    with subprocess.Popen([sys.executable, "-c", code], env=env, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"held\n"
            servers = running_below(data_dir)
            assert len(servers) == 2
            process.send_signal(signal.SIGHUP)
            assert process.wait(timeout=60) == 0
            assert not any(alive(pid) for pid in servers)
        finally:
            process.kill()


def running_below(data: Path) -> list[int]:
    """The pids of both embedded servers, wherever their files lie."""
    homes = [
        Path((data / name / "elsewhere").read_text().strip())
        if (data / name / "elsewhere").exists()
        else data / name
        for name in ("postgres", "valkey")
    ]
    files = [homes[0] / "server" / "data" / "postmaster.pid", homes[1] / "server" / "valkey.pid"]
    return [int(file.read_text().split()[0]) for file in files]


def test_process_with_ignored_hangup_survives_one() -> None:
    """As `nohup` does. Otherwise it counts as SIGTERM."""
    usual = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with signal_gate() as signals:
            signals.open()
            os.kill(os.getpid(), signal.SIGHUP)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        with signal_gate() as signals:
            signals.open()
            with pytest.raises(SystemExit) as ended:
                os.kill(os.getpid(), signal.SIGHUP)
        assert ended.value.code == 0
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGHUP, usual)
