"""What do several commands take?"""

from __future__ import annotations

from typing import Any

import click

from leaseq.codec import is_task_id
from leaseq.engine.submission import NAME


class TaskId(click.ParamType[str]):
    """A task id, in any case, for the canonical form."""

    name = "id"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = str(value).strip().lower()
        if not is_task_id(text):
            self.fail(f"{value!r} is not the id of a task: it looks like 019ab3c4-5d6e-7f80-9a1b-2c3d4e5f6a7b", param, ctx)
        return text


class Name(click.ParamType[str]):
    """The name of a queue or a task type."""

    name = "name"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not NAME.fullmatch(str(value)):
            self.fail(f"{value!r} is not a name: 1 to 128 characters of A-Z a-z 0-9 _ . -", param, ctx)
        return str(value)


task_id = click.argument("task_id", type=TaskId(), metavar="ID")
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
tenant = click.option("--tenant", default="default", show_default=True, help="Whose tasks.")

__all__ = ["Name", "TaskId", "as_json", "task_id", "tenant"]
