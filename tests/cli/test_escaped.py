"""Text from outside neither controls a terminal nor forges a line.

Each command runs twice, on tasks that differ in one thing: the hostile one has line ends and
controls where the plain one has letters. Both answers have the same number of lines, and no
unprintable character.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest

from leaseq import cli
from leaseq.cli import COMMANDS
from leaseq.cli.dev.printer import Printer
from leaseq.model import State
from leaseq.observability.logs import (
    RecordHandler,
    _line,
    _render_console,
    _render_json,
    _render_safely,
)
from leaseq.observability.telemetry import INFO, Event
from leaseq.safe_text.fingerprint import of_code
from support.cli import Command, Stage
from support.failures import count

# Everything that Postgres can store: all but U+0000 and halves of pairs.
HOSTILE = "".join(
    [
        *map(chr, [*range(1, 0x20), *range(0x7F, 0xA1)]),
        "\u061c\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069",
        "\x1b[2J\x1b]52;c;ZXZpbA==\x07\x9b31m",
        "\n2026-01-01 00:00:00.000 attempt 1 ended in SUCCESS\r\n",
        '\n{"event":"worker.opened"}\nnow                     runs',
    ]
)
PLAIN = "".join(char if char.isprintable() else "x" for char in HOSTILE)
CLI = Path(cli.__file__).parent
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def printable_lines(text: str) -> list[str]:
    """The lines of an output, after a check of every character."""
    lines = text.split("\n")
    for line in lines:
        assert line.isprintable(), [ascii(char) for char in line if not char.isprintable()]
    return lines


def own(text: str, is_json: bool) -> list[str]:
    """The lines of an answer, without the indented ones of a traceback."""
    return [line for line in printable_lines(text) if is_json or not line.startswith("  ")]


class Crowd:
    """Tasks, a worker and a queue whose texts all hold `text`."""

    def __init__(self, stage: Stage, text: str, *, worker_id: str) -> None:
        quoted = json.dumps(text, ensure_ascii=False).translate(
            {n: f"\\u{n:04x}" for n in range(0x20)}
        )
        payload = f'{{"text" : \n\n {quoted}}}'.encode()
        stage.open_worker(worker_id, queues=("default",))
        self.stage, self.worker_id = stage, worker_id
        self.failed, self.done, self.again = (stage.submit(payload=payload) for _ in range(3))
        for task_id, state in ((self.failed, State.FAILED), (self.again, State.SCHEDULED)):
            stage.fail(stage.claim(task_id, worker_id), f"message {text}", then=state)
        stage.succeed(stage.claim(self.done, worker_id), msgspec.json.encode({"result": text}))
        self.running = stage.submit(payload=payload)
        stage.claim(self.running, worker_id)
        with psycopg.connect(str(stage.config.postgres_url), autocommit=True) as conn:
            said = {"text": text, "json": json.dumps({"progress": text}), "worker": worker_id}
            conn.execute(
                "update leaseq.workers set host = %(text)s, version = %(text)s, app_version = %(text)s where id = %(worker)s",
                said,
            )
            conn.execute(
                "update leaseq.tasks set progress = %(json)s where worker_id = %(worker)s", said
            )

        assert stage.do(lambda engine: count(engine.stores.failures)) == 2

    def close(self, text: str) -> None:
        self.stage.do(
            lambda engine: engine.stores.workers.close_worker(self.worker_id, reason=text)
        )


VALUE_ERROR = of_code("error", "ValueError")
# The arguments of each command, made from a crowd and its text.
Table = dict[str, list[Callable[[Crowd, str], list[str]]]]
TABLE: Table = {
    "dev": [lambda c, t: ["dev", "--port", t]],
    "demo": [lambda c, t: ["demo", t]],
    "api": [lambda c, t: ["api", "--port", t]],
    "worker": [
        lambda c, t: ["worker", t],
        lambda c, t: ["worker", f"apps.probe:{t}"],
        lambda c, t: ["worker", "apps.probe:app", "--queues", t],
    ],
    "reaper": [lambda c, t: ["reaper", t]],
    "migrate": [lambda c, t: ["migrate", "--owner", t]],
    "check": [lambda c, t: ["check", t]],
    "submit": [
        lambda c, t: ["submit", t],
        lambda c, t: ["submit", "add", t],
        lambda c, t: ["submit", "add", "{}", "--key", f"é{t}"],
    ],
    "show": [
        lambda c, t: ["show", c.failed],
        lambda c, t: ["show", c.failed, "--json"],
        lambda c, t: ["show", c.failed, "--json", "--story"],
        lambda c, t: ["show", c.done],
        lambda c, t: ["show", c.running],
        lambda c, t: ["show", c.again],
        lambda c, t: ["show", t],
    ],
    "why": [
        lambda c, t: ["why", c.failed],
        lambda c, t: ["why", c.failed, "--json"],
        lambda c, t: ["why", c.done],
        lambda c, t: ["why", c.running],
        lambda c, t: ["why", c.again],
        lambda c, t: ["why", c.running, "--key", t],
        lambda c, t: ["why", t],
    ],
    "wait": [
        lambda c, t: ["wait", c.failed],
        lambda c, t: ["wait", c.done],
        lambda c, t: ["wait", c.done, "--json"],
    ],
    "list": [
        lambda c, t: ["list"],
        lambda c, t: ["list", "--json"],
        lambda c, t: ["list", "--key", t],
        lambda c, t: ["list", "--state", t],
    ],
    "cancel": [
        lambda c, t: ["cancel", t],
        lambda c, t: ["cancel", c.running, "--json"],
        lambda c, t: ["cancel", c.failed],
    ],
    "redrive": [
        lambda c, t: ["redrive", t],
        lambda c, t: ["redrive", c.failed, "--json"],
        lambda c, t: ["redrive", c.done],
    ],
    "replay": [
        lambda c, t: ["replay", t],
        lambda c, t: ["replay", c.failed, "--json"],
        lambda c, t: ["replay", c.done, "--payload", t],
        lambda c, t: ["replay", c.done, "--key", f"é{t}"],
    ],
    "free-key": [
        lambda c, t: ["free-key", t],
        lambda c, t: ["free-key", c.failed, "--json"],
        lambda c, t: ["free-key", c.done],
    ],
    "erase": [
        lambda c, t: ["erase", t],
        lambda c, t: ["erase", c.running],
        lambda c, t: ["erase", t, c.running, "--json"],
    ],
    "workers": [
        lambda c, t: ["workers"],
        lambda c, t: ["workers", "--json"],
        lambda c, t: ["workers", "--all"],
    ],
    "stats": [
        lambda c, t: ["stats"],
        lambda c, t: ["stats", "--json"],
        lambda c, t: ["stats", "--queue", t],
    ],
    "queues": [
        lambda c, t: ["queues"],
        lambda c, t: ["queues", "--json"],
        lambda c, t: ["queues", "pause", t],
    ],
    "keys": [
        lambda c, t: ["keys"],
        lambda c, t: ["keys", "--json"],
        lambda c, t: ["keys", "create", t, "--scopes", "read"],
        lambda c, t: ["keys", "create", "k", "--scopes", t],
        lambda c, t: ["keys", "create", "k", "--scopes", "read", "--tenant", t],
        lambda c, t: ["keys", "create", "k", "--scopes", "read", "--expires", t],
        lambda c, t: ["keys", "rotate", t],
        lambda c, t: ["keys", "revoke", t],
    ],
    "tenants": [
        lambda c, t: ["tenants"],
        lambda c, t: ["tenants", "create", t],
        lambda c, t: ["tenants", "limit", t, "--unfinished", "1"],
        lambda c, t: ["tenants", "limit", "default", "--unfinished", t],
    ],
    "top": [
        lambda c, t: ["top"],
        lambda c, t: ["top", "--json"],
        lambda c, t: ["top", "--queue", t],
    ],
    "failures": [
        lambda c, t: ["failures"],
        lambda c, t: ["failures", "--json"],
        lambda c, t: ["failures", "--type", t],
        lambda c, t: ["failures", "show", "add", VALUE_ERROR],
        lambda c, t: ["failures", "show", "add", VALUE_ERROR, "--json"],
        lambda c, t: ["failures", "show", "add", t],
        lambda c, t: ["failures", "ack", t, "x"],
        lambda c, t: ["failures", "ack", "add", VALUE_ERROR],
    ],
    "schedules": [
        lambda c, t: ["schedules"],
        lambda c, t: ["schedules", "--json"],
        lambda c, t: ["schedules", "--tenant", t],
        lambda c, t: ["schedules", "show", t],
        lambda c, t: ["schedules", "run", "none", "--tenant", t],
        lambda c, t: ["schedules", "pause", t],
    ],
    "diary": [
        lambda c, t: ["diary"],
        lambda c, t: ["diary", "--json"],
        lambda c, t: ["diary", "--worker", t],
        lambda c, t: ["diary", "--name", t],
        lambda c, t: ["diary", "--since", t],
    ],
    "operations": [
        lambda c, t: ["operations"],
        lambda c, t: ["operations", "--json"],
        lambda c, t: ["operations", "--target", t],
        lambda c, t: ["operations", "--tenant", t],
    ],
    # Last: a name that is valid is a target of operations from here on.
    "limits": [
        lambda c, t: ["limits", "show", t],
        lambda c, t: ["limits", "delete", t],
        lambda c, t: ["limits", "set", t, "--concurrency", "1"],
        lambda c, t: ["limits", "set", "pages", "--concurrency", t],
        lambda c, t: ["queues", "show", t],
        lambda c, t: ["queues", "set", "pages", "--limit", t],
        lambda c, t: ["queues", "set", t, "--fair"],
    ],
}
SETTINGS = [
    "LEASEQ_DATA_DIR",
    "LEASEQ_API_HOST",
    "LEASEQ_CONCURRENCY",
    "LEASEQ_REDIS_PREFIX",
    "LEASEQ_LOG_LEVEL",
    "LEASEQ_REDIS_URL",
]


def test_the_table_has_every_command() -> None:
    assert set(TABLE) == {name for commands in COMMANDS.values() for name in commands}


def test_no_command_lets_text_through(leaseq: Command, stage: Stage) -> None:
    hostile, plain = (
        Crowd(stage, HOSTILE, worker_id="a" * 32),
        Crowd(stage, PLAIN, worker_id="b" * 32),
    )
    shown = json.loads(leaseq("show", hostile.failed, "--json").stdout)
    assert shown["payload"] == {"text": HOSTILE}, "written out, not changed"
    assert shown["error"]["message"] == f"message {HOSTILE}"
    assert json.loads(leaseq("wait", hostile.done).stdout) == {"result": HOSTILE}
    for name, makers in TABLE.items():
        for make in makers:
            if name == "workers":
                hostile.close(HOSTILE)
                plain.close(PLAIN)
            said = leaseq(*make(hostile, HOSTILE))
            usual = leaseq(*make(plain, PLAIN))
            is_json = "--json" in make(hostile, "")
            lines = [own(stream, is_json) for stream in (said.stdout, said.stderr)]
            expected = [own(stream, is_json) for stream in (usual.stdout, usual.stderr)]
            assert [*map(len, lines)] == [*map(len, expected)], make(hostile, "TEXT")
            assert (said.exit_code, said.exception is None) == (
                usual.exit_code,
                usual.exception is None,
            )
            if is_json and said.stdout:
                json.loads(said.stdout)


def test_no_setting_lets_text_through(leaseq: Command) -> None:
    for variable in SETTINGS:
        for args in (["check"], ["check", "--json"], ["list"]):
            result = leaseq(*args, **{variable: f"x{HOSTILE}"})
            printable_lines(result.stdout)
            printable_lines(result.stderr)


def nasty_records() -> list[logging.LogRecord]:
    try:
        raise ValueError(HOSTILE)
    except ValueError as error:
        error.add_note(HOSTILE)
        info = (type(error), error, error.__traceback__)
    made = [
        ("name", HOSTILE, ()),
        (HOSTILE, "%s", (HOSTILE + "\0\ud800",)),
        ("name", "%d" + HOSTILE, (HOSTILE,)),
    ]
    return [
        logging.LogRecord(name, logging.ERROR, "x.py", 1, message, args, info)
        for name, message, args in made
    ]


@pytest.mark.parametrize("render", [_render_json, _render_console])
def test_no_log_format_lets_text_through(render: Callable[[dict[str, Any]], bytes]) -> None:
    """A line of the log begins at the margin. Further lines are indented."""
    field = HOSTILE + "\0\ud800"
    lines = [RecordHandler(render).line(record) for record in nasty_records()]
    lines.append(
        _render_safely(
            render,
            _line(
                "task.failed",
                INFO,
                {"error": field, field: field, "traceback": field, "list": [field]},
            ),
        )
    )
    for line in lines:
        text = COLOUR.sub("", line.decode())
        first, *rest = printable_lines(text)
        assert all(part.startswith("    ") for part in rest)
        assert not (rest and render is _render_json)
        assert first.startswith(("{", "2"))


@pytest.mark.parametrize("raw", [False, True])
def test_leaseq_dev_lets_no_text_through(raw: bool, capsys: pytest.CaptureFixture[str]) -> None:
    printer = Printer(raw=raw)
    fields = {
        "event": HOSTILE,
        "level": HOSTILE,
        "timestamp": HOSTILE,
        HOSTILE: HOSTILE,
        "exception": HOSTILE,
        "list": [HOSTILE],
    }
    logged = [
        json.dumps(fields),
        json.dumps(fields, ensure_ascii=False),
        HOSTILE,
        "{" + HOSTILE,
        '{"event": "a\x7f\u202e"}',
    ]
    assert printer.line("worker", logged[0]) is not None
    for text in logged:
        printer.line("worker", text)
        printer.text("worker", text)
    printer.event(Event("task.failed", INFO, {"error": HOSTILE}))
    printer.say(HOSTILE)
    printer.say(HOSTILE, colour="red")
    lines = printable_lines(COLOUR.sub("", capsys.readouterr().out))
    own = [line for line in lines if not line.startswith("    ")]
    assert len(own) == 1 + 2 * len(logged) + 3 + 1


def test_every_command_writes_in_one_place() -> None:
    writes = re.compile(r"\b(click\.echo|print|secho|sys\.std(out|err)\.write)\(")
    found = [
        path.name
        for path in sorted(CLI.rglob("*.py"))
        if writes.search(path.read_text(encoding="utf-8"))
    ]
    assert found == ["printer.py", "output.py", "streams.py"], (
        "or text from outside finds another way out"
    )


def test_a_print_is_no_event(capsys: pytest.CaptureFixture[str]) -> None:
    Printer(raw=False).text("worker", '{"event": "worker.opened"}')
    assert '{"event": "worker.opened"}' in capsys.readouterr().out


def test_a_row_is_one_line_on_a_terminal_too(
    leaseq: Command, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ids are whole at any width. The terminal itself breaks a long line, and copies it as one."""
    worker = stage.open_worker(queues=("a-rather-long-name-of-a-queue", "and-another-one"))
    task_id = stage.submit(queue="a-rather-long-name-of-a-queue")
    for columns in ("20", "40", "80"):
        monkeypatch.setenv("COLUMNS", columns)
        monkeypatch.setattr("rich.console.Console.is_terminal", True)
        lines = COLOUR.sub("", leaseq("list").stdout).splitlines()
        assert [line.split()[0] for line in lines] == ["ID", task_id]
        assert COLOUR.sub("", leaseq("workers").stdout).splitlines()[1].startswith(worker)
        assert COLOUR.sub("", leaseq("show", task_id).stdout).startswith(f"{task_id} PENDING\n")
