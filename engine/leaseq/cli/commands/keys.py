"""The commands that create, list, rotate, limit and revoke API keys."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import wraps
from typing import Any

import click

from leaseq.api_keys import KEY_ID, SCOPES, ApiKey, IssuedKey, RequestLimit, key_id_of
from leaseq.cli import parameters
from leaseq.cli.actor import command_line
from leaseq.cli.output import moment, print_json, print_table
from leaseq.cli.servers import reading, with_engine
from leaseq.cli.streams import note, say
from leaseq.operations.access import to_limit

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


def to_seconds(given: str) -> float:
    """A duration such as 90d, 12h, 30m or 45s, in seconds."""
    found = re.fullmatch(r"([0-9]{1,9})([smhd])", given.strip())
    if found is None:
        raise click.BadParameter(f"{given!r} is not a duration such as 90d, 12h, 30m or 45s")
    return int(found[1]) * _UNITS[found[2]]


def to_key_id(given: str) -> str:
    """The public id of a key, from the id or from the whole text."""
    found = key_id_of(given) or given
    if not KEY_ID.fullmatch(found):
        # Not quoted: it may be a part of the text of a key.
        raise click.BadParameter(
            "this is not the id of a key: an id has 12 characters of a-z 0-9, `leaseq keys` lists them"
        )
    return found


def to_rate(given: str) -> float | None:
    """A number of requests in a second, or none."""
    try:
        return None if given == "none" else float(given)
    except ValueError:
        raise click.BadParameter(f"{given[:20]!r} is not a number, and not none") from None


def with_limit(*, required: bool) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The options of a limit on requests, which a command takes as `limit`."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @click.option(
            "--rate",
            type=to_rate,
            required=required,
            help="Requests that the key may send each second; none: no limit.",
        )
        @click.option(
            "--burst",
            type=int,
            help="Requests that it may send at one time, after a pause.  [default: those of a second]",
        )
        @wraps(command)
        def limited(*args: Any, rate: float | None, burst: int | None, **rest: Any) -> None:
            command(*args, limit=to_limit(rate, burst), **rest)

        return limited

    return decorate


key_id = click.argument("key_id", type=to_key_id, metavar="ID")


@click.group(invoke_without_command=True)
@click.option("--ended", is_flag=True, help="List revoked and expired keys, too.")
@parameters.as_json
@click.pass_context
def keys(ctx: click.Context, ended: bool, as_json: bool) -> None:
    """List the API keys.

    A key's text is shown once, when it is created. The list has its public id.
    """
    if ctx.invoked_subcommand is not None:
        return
    found = reading(lambda engine: engine.access.list_keys(ended=ended))
    if as_json:
        print_json(found)
    elif found:
        print_table(
            ("id", "name", "scopes", "tenant", "rate", "expires", "last used", "state"),
            [_row(key) for key in found],
        )


@keys.command()
@click.argument("name")
@click.option("--scopes", required=True, help=f"Separated by commas: {', '.join(SCOPES)}.")
@click.option("--tenant", help="Bind the key to this tenant. Without it, the key is for operators.")
@click.option(
    "--expires", type=to_seconds, help="End of the key, such as 90d, 12h or 30m from now."
)
@with_limit(required=False)
@parameters.as_json
def create(
    name: str,
    scopes: str,
    tenant: str | None,
    expires: float | None,
    limit: RequestLimit | None,
    as_json: bool,
) -> None:
    """Create an API key NAME, and print its text once."""
    wanted = [scope.strip() for scope in scopes.split(",") if scope.strip()]
    issued = with_engine(
        lambda engine: engine.as_operator(command_line(None)).create_key(
            name,
            scopes=wanted,
            tenant=tenant,
            expires_seconds=expires,
            limit=limit,
        )
    )
    _show_issued(issued, as_json=as_json)


@keys.command()
@key_id
@click.option(
    "--overlap",
    type=to_seconds,
    default="1d",
    show_default=True,
    help="How long the old key goes on.",
)
@parameters.as_json
def rotate(key_id: str, overlap: float, as_json: bool) -> None:
    """Create a key in place of key ID, with the same name, scopes and tenant."""
    issued = with_engine(
        lambda engine: engine.as_operator(command_line(None)).rotate_key(
            key_id, overlap_seconds=overlap
        )
    )
    _show_issued(issued, as_json=as_json)


@keys.command()
@key_id
@with_limit(required=True)
@parameters.as_json
def limit(key_id: str, limit: RequestLimit | None, as_json: bool) -> None:
    """Limit the requests of key ID. Each API process applies it within 5 seconds."""
    key = with_engine(
        lambda engine: engine.as_operator(command_line(None)).limit_key(key_id, limit)
    )
    if as_json:
        print_json(key)
    elif key.rate is None:
        say(f"key {key.id} ({key.name}) has no limit")
    else:
        say(f"key {key.id} ({key.name}) may send {key.rate:g} requests a second")


@keys.command()
@key_id
@parameters.as_json
def revoke(key_id: str, as_json: bool) -> None:
    """Revoke key ID. Each API process refuses it within 5 seconds.

    ID may also be the whole text of a key that has leaked.
    """
    key = with_engine(lambda engine: engine.as_operator(command_line(None)).revoke_key(key_id))
    if as_json:
        print_json(key)
    else:
        say(f"key {key.id} ({key.name}) is revoked")


def _show_issued(issued: IssuedKey, *, as_json: bool) -> None:
    if as_json:
        print_json(issued)
    else:
        say(issued.text)
    note(f"store it now, it is not shown again; its id is {issued.key.id}")


def _row(key: ApiKey) -> tuple[str, ...]:
    state = "revoked" if key.revoked_at else "rotated" if key.replaced_by else "-"
    return (
        key.id,
        key.name,
        ",".join(key.scopes),
        key.tenant or "-",
        "-" if key.rate is None else f"{key.rate:g}/s",
        moment(key.expires_at),
        moment(key.last_used_at),
        state,
    )


__all__ = ["keys"]
