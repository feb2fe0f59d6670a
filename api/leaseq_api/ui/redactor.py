"""Mask values of tasks before a page shows them.

The rules are the names of the configuration, and the places that the handler of a type has
registered. A page masks a task as soon as it has read it, so that everything it makes of the task has
no masked value. The HTTP API does not mask: its answers are for programs, which need the values
(docs/decisions/0066-redaction-on-pages.md).
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from hashlib import sha256

from msgspec import Struct
from msgspec.structs import replace

from leaseq.ledger.failures import FailureGroup
from leaseq.ledger.task_lists import Contents
from leaseq.model import AttemptRecord, Task
from leaseq.operations.known_types import KnownTypes
from leaseq.operations.life.facts import LifeFacts
from leaseq.operations.lists import Lists
from leaseq.operations.why.facts import Facts
from leaseq.safe_text.redaction import Mask, Redacted, Rules, parse_names, redact

PARTS = ("payload", "result", "progress")
# Documents of so many bytes are kept for some seconds, but only so many of them.
LARGE = 16_384
MOST_KEPT = 16
KEPT_SECONDS = 5.0


class MaskedTask(Struct, frozen=True):
    """A task without the values that are masked, how many they are, and the mask for texts about it."""

    task: Task
    count: int
    mask: Mask


class Redactor:
    """Masks tasks by the rules of their types."""

    def __init__(self, names: str, types: KnownTypes, lists: Lists) -> None:
        self._names = parse_names(names)
        self._types = types
        self._lists = lists
        self._recent = Recent()

    async def rules_of(self, type_name: str) -> Rules:
        """The rules for tasks of a type."""
        if self._types.known(type_name) is None:
            await self._types.look_again(type_name)
        return Rules(self._names, self._types.redacted_in(type_name))

    async def mask_task(self, task: Task) -> MaskedTask:
        """Mask a task and its error."""
        redacted = self._redact(task, await self.rules_of(task.type))
        mask = _mask_of(redacted)
        parts = {name: each.raw for name, each in redacted.items()}
        error = None if task.error is None else mask.json(task.error)
        masked = replace(task, **parts, error=error)
        return MaskedTask(masked, sum(each.count for each in redacted.values()), mask)

    async def mask_life(self, facts: LifeFacts) -> tuple[LifeFacts, MaskedTask]:
        """Mask a task and its attempts."""
        masked = await self.mask_task(facts.task)
        attempts = [mask_attempt(each, masked.mask) for each in facts.attempts]
        return replace(facts, task=masked.task, attempts=attempts), masked

    async def mask_value(self, type_name: str, raw: bytes) -> bytes:
        """Mask one value of a task: a progress."""
        return self._recent.redact(raw, await self.rules_of(type_name)).raw

    async def masks_of(self, task_ids: Collection[str], *, tenant: str | None) -> Masks:
        """The masks for texts about many tasks, whose contents are read for it."""
        found: Mapping[str, Contents] = {}
        if task_ids:
            found = await self._lists.find_contents(list(task_ids), tenant=tenant)
        return Masks(
            {
                name: _mask_of(self._redact(each, await self.rules_of(each.type)))
                for name, each in found.items()
                if each.whole
            }
        )

    def _redact(self, source: Task | Contents, rules: Rules) -> dict[str, Redacted]:
        values = {name: getattr(source, name) for name in PARTS}
        return {
            name: self._recent.redact(raw, rules) for name, raw in values.items() if raw is not None
        }

    async def mask_groups(
        self, groups: Sequence[FailureGroup], *, tenant: str | None
    ) -> list[FailureGroup]:
        """Mask the messages of groups of failures, each by the task of its newest attempt."""
        named = [group.task_id for group in groups if group.message]
        masks = await self.masks_of(named, tenant=tenant)
        return [
            replace(group, message=masks.of(group.task_id).text(group.message))
            if group.message
            else group
            for group in groups
        ]


class Recent:
    """The large documents that were masked a moment ago. A live page asks for the same task in each of
    its regions, every second. They are forgotten after a few seconds, as contents are everywhere."""

    def __init__(self) -> None:
        self._kept: dict[tuple[bytes, Rules], Redacted] = {}

    @property
    def kept(self) -> int:
        """How many there are."""
        return len(self._kept)

    def redact(self, raw: bytes, rules: Rules) -> Redacted:
        """Mask the values of a document, or tell how they were masked a moment ago."""
        if len(raw) < LARGE:
            return redact(raw, rules)
        key = (sha256(raw).digest(), rules)
        found = self._kept.get(key)
        if found is None:
            found = redact(raw, rules)
            if len(self._kept) < MOST_KEPT:
                self._kept[key] = found
                asyncio.get_running_loop().call_later(KEPT_SECONDS, self._kept.pop, key, None)
        return found


class Masks:
    """The masks of the tasks of one page."""

    def __init__(self, masks: Mapping[str, Mask]) -> None:
        self._masks = masks

    def of(self, task_id: str) -> Mask:
        """The mask of a task. Where its contents were not read, it masks the whole text."""
        return self._masks.get(task_id, Mask.whole())


def mask_attempt(attempt: AttemptRecord, mask: Mask) -> AttemptRecord:
    """An attempt without the values that are masked."""
    return attempt if attempt.error is None else replace(attempt, error=mask.json(attempt.error))


def mask_facts(facts: Facts, mask: Mask) -> Facts:
    """The facts for an explanation, without the values that are masked."""
    task, attempt = facts.task, facts.last_attempt
    if task is not None and task.error is not None:
        task = replace(task, error=mask.json(task.error))
    return replace(
        facts, task=task, last_attempt=None if attempt is None else mask_attempt(attempt, mask)
    )


def _mask_of(redacted: Mapping[str, Redacted]) -> Mask:
    return Mask(value for each in redacted.values() for value in each.values)


__all__ = ["MaskedTask", "Masks", "Recent", "Redactor", "mask_attempt", "mask_facts"]
