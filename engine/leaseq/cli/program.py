"""The program `leaseq`: its commands, and the end of each.

Invariants: a command's module is imported only when that command runs, so `leaseq --help` stays
fast. Every error becomes one line on stderr and an exit code that a script can distinguish
(`leaseq.cli.exit_codes`).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import click

from leaseq.cli.exit_codes import OK, failure, trace
from leaseq.cli.streams import note, note_as_it_is, open_streams, say, silence

# name -> (module and attribute below leaseq.cli.commands, text of `leaseq --help`)
COMMANDS: dict[str, dict[str, tuple[str, str]]] = {
    "Run": {
        "dev": (
            "dev:dev",
            "Run servers, API, reaper and worker on this machine, with reload.",
        ),
        "demo": (
            "demo:demo",
            "Run the demo: real tasks, two kills, checked results (needs a clone).",
        ),
        "api": ("run:api", "Serve the HTTP API."),
        "worker": ("run:worker", "Run the handlers of an app."),
        "reaper": (
            "run:reaper",
            "Run a reaper: recovers tasks of dead workers, delivers due tasks.",
        ),
        "migrate": ("migrate:migrate", "Migrate the schema in Postgres to this version of leaseq."),
        "check": ("check:check", "Check the configuration and the servers."),
    },
    "Tasks": {
        "submit": ("submit:submit", "Submit a task."),
        "show": ("show:show", "Show a task's history and what it is waiting for."),
        "why": ("why:why", "Explain why a task is where it is, and what happens next."),
        "wait": ("wait:wait", "Wait for a task to end, and print its result."),
        "list": ("tasks:list_tasks", "List tasks, newest first."),
        "cancel": ("tasks:cancel", "Cancel a task."),
        "redrive": ("tasks:redrive", "Retry a FAILED or CANCELLED task from its first attempt."),
        "replay": (
            "replay:replay",
            "Submit a task again as a new one, perhaps with another payload.",
        ),
        "free-key": (
            "tasks:free_key",
            "Free the idempotency key of a FAILED or CANCELLED task.",
        ),
        "erase": ("erase:erase", "Erase payload, result, errors and attempts of ended tasks."),
    },
    "Fleet": {
        "workers": ("workers:workers", "List the workers."),
        "stats": ("stats:stats", "Show rates, failures, waits and run times of the last hours."),
        "queues": ("queues:queues", "List the queues, or pause or resume one."),
        "limits": ("limits:limits", "List the limits, or show, set or delete one."),
        "top": ("top:top", "Show the cluster as it is now, live in a terminal."),
        "failures": (
            "failures:failures",
            "List why attempts have failed, or acknowledge a cause.",
        ),
        "diary": ("diary:diary", "List what happened to the cluster, and what it means."),
        "schedules": (
            "schedules:schedules",
            "List the schedules, or pause, resume, run or delete one.",
        ),
        "operations": (
            "operations:operations",
            "List who changed what: cancelled, erased, paused.",
        ),
        "keys": ("keys:keys", "Create, list, rotate or revoke API keys."),
        "tenants": ("tenants:tenants", "List the tenants, or create one."),
    },
}

EXIT_CODES = """\b
Exit codes:
  0    it worked
  1    it failed: a task ended in FAILED or CANCELLED, a check found a fault
  2    a mistake in the command line or in a LEASEQ_* variable
  3    there is no such task
  4    a server cannot be reached
  5    refused: in this state, with this key, or on these servers
  124  the time to wait is over, the task is not
  130  interrupted
"""


class Program(click.Group):
    """The command group: imports commands late and explains errors."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for commands in COMMANDS.values() for name in commands]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        for commands in COMMANDS.values():
            if cmd_name in commands:
                module, _, attribute = commands[cmd_name][0].partition(":")
                command: click.Command = getattr(
                    import_module(f"leaseq.cli.commands.{module}"), attribute
                )
                return command
        return None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, commands in COMMANDS.items():
            with formatter.section(title):
                formatter.write_dl([(name, text) for name, (_, text) in commands.items()])

    def main(  # type: ignore[override]
        self, args: Sequence[str] | None = None, *, standalone_mode: bool = True, **options: Any
    ) -> Any:
        """Run a command. In standalone mode the process ends with its exit code."""
        if not standalone_mode:
            return super().main(args, standalone_mode=False, **options)
        open_streams()
        try:
            code = self._run(sys.argv[1:] if args is None else list(args), options)
            sys.stdout.flush()
        except OSError as error:  # the rest of the answer cannot be written
            code = _fail(error)
        sys.exit(code)

    def _run(self, args: list[str], options: dict[str, Any]) -> int:
        try:
            _check_utf8(args)
            code = super().main(args, standalone_mode=False, **options)
            return code if isinstance(code, int) else OK
        except SystemExit as end:
            return end.code if isinstance(end.code, int) else OK
        except click.exceptions.NoArgsIsHelpError as error:
            say(error.format_message(), styled=True)
            return error.exit_code
        except (Exception, BaseExceptionGroup, KeyboardInterrupt) as raised:
            return _fail(raised)


def _check_utf8(args: Sequence[str]) -> None:
    for number, given in enumerate(args, 1):
        try:
            given.encode()
        except UnicodeEncodeError:
            raise click.UsageError(f"argument {number} is not UTF-8: {given}") from None


def _fail(raised: BaseException) -> int:
    line, code = failure(raised)
    if isinstance(raised, OSError):
        silence(sys.stdout)
    if line.startswith("unexpected ") and os.environ.get("LEASEQ_LOG_LEVEL", "").lower() == "debug":
        note("the traceback, without the texts of the exceptions")
        note_as_it_is(trace(raised))
    if line:
        note(line)
    return code


@click.group(
    cls=Program, epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(package_name="leaseq")
def main() -> None:
    """A reliable task queue: recorded in Postgres, dispatched through Redis or Valkey, safe to kill
    at any moment.

    Configured by LEASEQ_* variables; `leaseq check` shows all of them. Without LEASEQ_POSTGRES_URL
    or LEASEQ_REDIS_URL an embedded server is used, with its data in .leaseq.
    """


__all__ = ["COMMANDS", "EXIT_CODES", "main"]
