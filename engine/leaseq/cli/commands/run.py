"""The commands that run the three services in the foreground, one process each."""

from __future__ import annotations

import importlib
import sys
import traceback
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click
import msgspec

from leaseq.app import Leaseq
from leaseq.cli.exit_codes import FAILED
from leaseq.cli.servers import checked_servers, held_servers
from leaseq.cli.signals import stop_at_eof
from leaseq.cli.streams import note, note_as_it_is
from leaseq.config import Config
from leaseq.errors import ConfigInvalid, LeaseqError
from leaseq.model import NAME
from leaseq.observability.logs import set_up_logs
from leaseq.safe_text.printable import printable_lines
from leaseq.supervisor.supervisor import SupervisorSpec
from leaseq.supervisor.supervisor import serve as serve_worker
from leaseq.worker import load as loading
from leaseq.worker.load import load_app

until_eof = click.option(
    "--until-eof", is_flag=True, hidden=True, help="Stop when standard input ends."
)


@click.command()
@click.option("--host", help="Address to listen on (LEASEQ_API_HOST, 127.0.0.1).")
@click.option(
    "--port", type=click.IntRange(0, 65_535), help="Port to listen on (LEASEQ_API_PORT, 8000)."
)
@click.option(
    "--processes",
    type=click.IntRange(1),
    help="Processes that serve on the port (LEASEQ_API_PROCESSES, 1).",
)
@click.option(
    "--tls-cert", metavar="FILE", help="Certificate chain in PEM, for HTTPS (LEASEQ_API_TLS_CERT)."
)
@click.option(
    "--tls-key", metavar="FILE", help="Key of the certificate, in PEM (LEASEQ_API_TLS_KEY)."
)
@click.option(
    "--insecure", is_flag=True, help="Ask for no API key, on any address (LEASEQ_API_AUTH=off)."
)
@click.option(
    "--shared",
    type=int,
    hidden=True,
    help="Serve as one of several processes, and report counts to this file descriptor.",
)
@click.option(
    "--kill-tests",
    type=click.Path(path_type=Path),
    hidden=True,
    help="Ask the process at this socket for kill tests.",
)
@until_eof
def api(
    shared: int | None,
    kill_tests: Path | None,
    until_eof: bool,
    insecure: bool,
    **options: Any,
) -> None:
    """Serve the HTTP API until SIGTERM or Ctrl-C."""
    require_extra("api", needs=("httptools", "litestar"))
    if shared is not None:
        _serve_shared(shared)
        return
    options["auth"] = "off" if insecure else None
    config = configure(**{f"api_{name}": value for name, value in options.items()})
    _begin(config, until_eof=until_eof)
    with checked_servers(config) as ready:
        if ready.api_processes > 1:
            from leaseq_api.processes import serve_many  # an optional extra

            sys.exit(serve_many(ready))
        from leaseq_api.serve import serve  # an optional extra

        serve(ready, kill_tests=kill_tests)


def _serve_shared(counts: int) -> None:
    """Serve as a process that `leaseq api --processes N` has started, on servers that it has
    checked."""
    from leaseq_api.processes import receive_secrets  # an optional extra
    from leaseq_api.serve import serve_shared

    receive_secrets()
    config = configure()
    _begin(config, until_eof=True)
    with held_servers(config, unfinished=False) as ready:
        serve_shared(ready, counts)


@click.command()
@until_eof
def reaper(until_eof: bool) -> None:
    """Run one reaper until SIGTERM or Ctrl-C. Any number of reapers may run at the same time."""
    require_extra("reaper", needs=("apscheduler",))
    from leaseq_reaper import serve  # an optional extra

    config = configure()
    _begin(config, until_eof=until_eof)
    with checked_servers(config) as ready:
        serve(ready)


@click.command()
@click.argument("app", metavar="MODULE:APP")
@click.option(
    "--queues",
    metavar="A,B",
    help="Queues to take tasks from (default: those of the app's handlers).",
)
@click.option(
    "--concurrency",
    type=click.IntRange(1),
    help="Tasks at a time in each process (LEASEQ_CONCURRENCY, 100).",
)
@click.option(
    "--processes", type=click.IntRange(1), help="Processes that run handlers (LEASEQ_PROCESSES, 1)."
)
@until_eof
def worker(
    app: str, queues: str | None, concurrency: int | None, processes: int | None, until_eof: bool
) -> None:
    """Run the handlers of MODULE:APP until SIGTERM or Ctrl-C.

    The first signal lets running tasks finish within LEASEQ_GRACE_SECONDS. A second one hands them
    back immediately.
    """
    config = configure(concurrency=concurrency, processes=processes)
    if config.metrics_port is not None:
        require_extra("metrics", needs=("prometheus_client",))
    chosen = _queues(queues, load(app))
    _begin(config, until_eof=until_eof)
    with checked_servers(config) as ready:
        spec = SupervisorSpec(
            app=app, queues=chosen, concurrency=ready.concurrency, processes=ready.processes
        )
        code = serve_worker(ready, spec)
    sys.exit(code)


def configure(**options: Any) -> Config:
    """The configuration of the environment, overridden by the given command line options."""
    given = {name: value for name, value in options.items() if value is not None}
    return msgspec.structs.replace(Config.from_env(), **given)


def load(path: str) -> Leaseq:
    """The app. A wrong name is reported in one line; if the module fails, its traceback is shown,
    too."""
    try:
        return load_app(path)
    except LeaseqError:
        raise
    except (Exception, SystemExit) as error:
        failure = traceback.TracebackException.from_exception(error)
        frames = [frame for frame in failure.stack if not _is_machinery(frame.filename)]
        failure.stack = traceback.StackSummary.from_list(frames)
        note_as_it_is("\n".join(printable_lines("".join(failure.format()).rstrip("\n"))))
        note(f"{path} cannot be imported: fix the error above")
        sys.exit(FAILED)


def _is_machinery(filename: str) -> bool:
    """Whether this file lies between a command and the module of an app. Compared as a whole: an
    app may use the same name."""
    if filename.startswith("<frozen importlib"):
        return True
    return (
        filename in (__file__, loading.__file__)
        or Path(filename).parent == Path(importlib.__file__).parent
    )


def _queues(given: str | None, app: Leaseq) -> list[str]:
    if not app.registry.handlers:
        raise ConfigInvalid("the app has no handlers: decorate one with @app.task")
    names = app.registry.queues() if given is None else [name.strip() for name in given.split(",")]
    for name in names:
        if not NAME.fullmatch(name):
            raise ConfigInvalid(
                f"{name!r} is not a queue name: use 1 to 128 characters of A-Z a-z 0-9 _ . -"
            )
    return sorted(set(names))


def _begin(config: Config, *, until_eof: bool) -> None:
    set_up_logs(config)
    if until_eof:
        stop_at_eof()


def require_extra(extra: str, *, needs: tuple[str, ...]) -> None:
    for package in needs:
        if find_spec(package) is None:
            raise ConfigInvalid(f"{package} is not installed: pip install 'leaseq[{extra}]'")


__all__ = ["api", "configure", "load", "reaper", "require_extra", "worker"]
