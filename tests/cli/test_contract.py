"""The contract of the CLI: commands, exit codes, error lines, fast help."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from leaseq import errors
from leaseq.cli import COMMANDS, EXIT_CODES, main
from leaseq.cli.exit_codes import CODES, exit_code, explain, leaseq_error
from leaseq.errors import DispatchForeign, LeaseqError, ServerUnreachable, TaskConflict

NAMES = [name for commands in COMMANDS.values() for name in commands]
DOCS = (Path(__file__).parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")

# An unlisted error is a failure: 1.
EXPECTED = {
    "ConfigInvalid": 2,
    "AccessInvalid": 2,
    "ApiKeyNotFound": 3,
    "TenantNotFound": 3,
    "DispatchForeign": 5,
    "IdempotencyInFlight": 5,
    "IdempotencyKeyInvalid": 2,
    "IdempotencyKeyReused": 5,
    "OperationConflict": 5,
    "OperationInvalid": 2,
    "OperationNotFound": 3,
    "PayloadInvalid": 2,
    "PayloadNotEncoded": 2,
    "FeatureNeedsUpgrade": 5,
    "LimitInUse": 5,
    "LimitInvalid": 2,
    "LimitNotFound": 3,
    "LimitUnknown": 2,
    "PayloadTooLarge": 2,
    "ReasonInvalid": 2,
    "ResultTimeout": 124,
    "SchemaMismatch": 5,
    "ServerUnfit": 5,
    "ServerUnreachable": 4,
    "SubmissionInvalid": 2,
    "TaskCancelled": 1,
    "UniqueConflict": 5,
    "QueueUnknown": 3,
    "TaskConflict": 5,
    "TaskMoved": 5,
    "OperationInDoubt": 5,
    "TaskFailed": 1,
    "TaskNotFound": 3,
    "UnknownType": 2,
}


def every_error() -> Iterator[type[LeaseqError]]:
    for value in vars(errors).values():
        if isinstance(value, type) and issubclass(value, LeaseqError):
            yield value


@pytest.mark.parametrize("kind", sorted(every_error(), key=str))
def test_every_error_has_its_exit_code_and_fits_one_line(kind: type[LeaseqError]) -> None:
    assert exit_code(kind()) == EXPECTED.get(kind.__name__, 1)
    assert explain(kind("first line\n  second line")).startswith("first line second line")
    assert "\n" not in explain(kind())


def test_an_error_within_a_group_is_found() -> None:
    group = BaseExceptionGroup(
        "tasks", [ValueError("x"), BaseExceptionGroup("inner", [TaskConflict("it runs")])]
    )
    assert str(leaseq_error(group)) == "it runs"
    assert leaseq_error(ValueError("x")) is None


def test_help_and_docs_name_every_code_and_every_command() -> None:
    shown = CliRunner().invoke(main, ["--help"]).stdout
    documented = {int(code) for code in re.findall(r"^\| (\d+) \|", DOCS, re.MULTILINE)}
    helped = {int(code) for code in re.findall(r"^ +(\d+) {2,}", shown, re.MULTILINE)}
    assert helped == documented == {0, 1, 2, 3, 4, 5, 124, 130}
    assert {code for _, code in CODES} <= helped
    assert EXIT_CODES.count("\n") == shown[shown.index("Exit codes") :].count("\n") + 1
    for name in NAMES:
        assert re.search(rf"^  {name} ", shown, re.MULTILINE), name
        assert f"`leaseq {name}" in DOCS, name


@pytest.mark.parametrize("name", NAMES)
def test_every_command_explains_itself_and_its_options_are_documented(name: str) -> None:
    shown = CliRunner().invoke(main, [name, "--help"])
    assert shown.exit_code == 0
    assert len(shown.stdout.splitlines()) > 4
    section = DOCS[DOCS.index(f"`leaseq {name}") :]
    undocumented = {"--help", "--json", "--tenant", "--limit"}
    for option in set(re.findall(r"--[a-z-]+", shown.stdout)) - undocumented:
        assert option in section, option


def test_advice_is_added_only_to_errors_that_name_no_remedy() -> None:
    assert explain(ServerUnreachable("Redis does not answer")).endswith(
        "run `leaseq check`, which tests both servers"
    )
    assert (
        explain(DispatchForeign("delete the keys that begin with leaseq:"))
        == "delete the keys that begin with leaseq:"
    )


def test_an_unknown_command_is_a_mistake() -> None:
    result = CliRunner().invoke(main, ["sumbit"])
    assert (result.exit_code, result.stdout) == (2, "")
    assert "sumbit" in result.stderr


def test_help_imports_no_command() -> None:
    said = "import sys; from leaseq.cli import main; main(['--help'], standalone_mode=False); print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, check=True)
    assert "Exit codes:" in ran.stdout
    modules = set(ran.stdout.splitlines()[-1].split())
    assert "leaseq.cli" in modules
    late = {"apscheduler", "httptools", "litestar", "rich", "watchfiles"}
    needed = {"leaseq.cli.exit_codes", "leaseq.cli.program", "leaseq.cli.streams"}
    assert {m for m in modules if m.split(".")[0] in late or m.startswith("leaseq.cli.")} == needed


def test_commands_about_tasks_need_no_extra() -> None:
    """The answers of the API are defined beside it, and its framework is an extra."""
    said = (
        "import sys; sys.modules.update(dict.fromkeys(('litestar', 'granian', 'httptools', 'jsonschema_rs', 'apscheduler')))\n"
        "from leaseq.cli import main; [main([name, '--help'], standalone_mode=False) for name in sys.argv[1:]]"
    )
    subprocess.run(
        [sys.executable, "-c", said, *(name for name in NAMES if name != "demo")],
        capture_output=True,
        check=True,
    )


def test_the_module_is_the_command() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "leaseq", "--version"], capture_output=True, text=True, check=True
    )
    assert ran.stdout.startswith("leaseq, version ")
