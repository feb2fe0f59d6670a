"""Parameters that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

import click

from leaseq.codec import is_task_id
from leaseq.errors import ActionInvalid
from leaseq.labels import parse_labels
from leaseq.model import DEFAULT_TENANT, FINGERPRINT, NAME
from leaseq.operations.seen import Seen, parse_seen

Command = TypeVar("Command", bound=Callable[..., Any])


def to_task_id(given: str) -> str:
    """A task id in its canonical form, from one in upper or lower case."""
    text = given.strip().lower()
    if not is_task_id(text):
        raise click.BadParameter(
            f"{given!r} is not a task id: an id looks like 019ab3c4-5d6e-7f80-9a1b-2c3d4e5f6a7b"
        )
    return text


def to_name(given: str) -> str:
    """The name of a queue or a task type."""
    if not NAME.fullmatch(given):
        raise click.BadParameter(
            f"{given!r} is not a name: 1 to 128 characters of A-Z a-z 0-9 _ . -"
        )
    return given


def to_fingerprint(given: str) -> str:
    """The fingerprint of a failure."""
    if not FINGERPRINT.fullmatch(given):
        raise click.BadParameter(f"{given!r} is not the fingerprint of a failure")
    return given


def to_moment(given: str) -> datetime:
    """A time. One without a zone is in the time zone of this machine."""
    try:
        return datetime.fromisoformat(given.strip()).astimezone()
    except (ValueError, OverflowError):
        raise click.BadParameter(
            f"{given!r} is not a time: a time looks like 2026-11-30T03:12"
        ) from None


def to_seen(given: str) -> Seen:
    """The state and the attempt of a task, as a person saw them."""
    try:
        return parse_seen(given)
    except ActionInvalid as error:
        raise click.BadParameter(str(error)) from None


def labels(*, most: int, help: str) -> Callable[[Command], Command]:  # noqa: A002 (as in click)
    """The option `--label NAME=VALUE`, which may be given more than once. It gives a dict."""

    def parse(_: object, __: object, texts: tuple[str, ...]) -> dict[str, str]:
        try:
            return parse_labels(texts, most=most)
        except ValueError as error:
            raise click.BadParameter(str(error)) from None

    return click.option(
        "--label", "labels", multiple=True, metavar="NAME=VALUE", callback=parse, help=help
    )


task_id = click.argument("task_id", type=to_task_id, metavar="ID")
queue_name = click.argument("name", type=to_name, metavar="NAME")
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
tenant = click.option(
    "--tenant", default=DEFAULT_TENANT, show_default=True, help="Tenant of the tasks."
)
seen = click.option(
    "--seen",
    type=to_seen,
    metavar="STATE/ATTEMPT",
    help="Only if the task is still so, as in FAILED/3.",
)

__all__ = [
    "as_json",
    "labels",
    "queue_name",
    "seen",
    "task_id",
    "tenant",
    "to_moment",
    "to_name",
    "to_task_id",
]
