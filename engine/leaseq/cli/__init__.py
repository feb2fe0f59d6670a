"""The commands of `leaseq`, and where each one lives.

Invariants: a command's module is imported only when that command runs, so that `leaseq --help` costs nothing. Whatever goes wrong
becomes one line on stderr and an exit code that a script can tell apart (`leaseq.cli.exits`).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import click

from leaseq.cli.exits import OK, failure, trace
from leaseq.cli.streams import note, note_as_it_is, open_streams, say, silence

__all__ = ["COMMANDS", "main"]

# name -> (where: module and attribute below leaseq.cli, what `leaseq --help` says of it)
COMMANDS: dict[str, dict[str, tuple[str, str]]] = {
    "Run": {
        "dev": ("dev.command:dev", "Everything on this machine, with reload: servers, API, reaper, worker."),
        "demo": ("demo:demo", "Watch it work, and survive being killed (in a clone of the repository)."),
        "api": ("services:api", "Serve the HTTP API."),
        "worker": ("services:worker", "Run the handlers of an app."),
        "reaper": ("services:reaper", "Run a reaper: takes back what the dead held, delivers what is due."),
        "migrate": ("migrate:migrate", "Bring the schema in Postgres up to this version of leaseq."),
        "check": ("check:check", "Say what is wrong with the configuration and the servers."),
    },
    "Tasks": {
        "submit": ("submit:submit", "Submit a task."),
        "show": ("show:show", "Tell the story of a task."),
        "wait": ("wait:wait", "Wait for a task to end; print its result."),
        "list": ("tasks:list_tasks", "List tasks, newest first."),
        "cancel": ("steer:cancel", "Stop a task."),
        "redrive": ("steer:redrive", "Run a task that ended in FAILED or CANCELLED again."),
    },
    "Fleet": {
        "workers": ("fleet:workers", "List the workers."),
        "queues": ("fleet:queues", "List the queues; pause or resume one."),
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
    """The group: imports late, explains errors."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for commands in COMMANDS.values() for name in commands]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        for commands in COMMANDS.values():
            if cmd_name in commands:
                module, _, attribute = commands[cmd_name][0].partition(":")
                command: click.Command = getattr(import_module(f"leaseq.cli.{module}"), attribute)
                return command
        return None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, commands in COMMANDS.items():
            with formatter.section(title):
                formatter.write_dl([(name, said) for name, (_, said) in commands.items()])

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
        except OSError as error:  # the rest of the answer finds no room
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
        note("the traceback, without what the exceptions say")
        note_as_it_is(trace(raised))
    if line:
        note(line)
    return code


@click.group(cls=Program, epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="leaseq")
def main() -> None:
    """A reliable task queue: recorded in Postgres, dispatched through Redis or Valkey, safe to kill at any moment.

    Configured by LEASEQ_* variables; `leaseq check` shows them all. Without LEASEQ_POSTGRES_URL or LEASEQ_REDIS_URL a server
    of its own is used, kept in .leaseq.
    """
