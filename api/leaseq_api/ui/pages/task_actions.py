"""The pages that ask before a task is cancelled, redriven or replayed.

Each is a form that works without a script. It carries the state and the attempt that the person saw,
and the id of the operation or the key of the new task, so that a double click acts once. The way out
comes first and has the focus, so Enter changes nothing. The pages are not live: neither their target
nor their numbers change while they are open.
"""

from __future__ import annotations

import difflib
from typing import Any

import msgspec
from litestar import Response, get, post
from msgspec import Struct

from leaseq.codec import new_task_id
from leaseq.errors import LeaseqError, PayloadInvalid, SubmissionInvalid, TaskConflict
from leaseq.model import State, Task
from leaseq.operations.replay import Replay, default_key
from leaseq.operations.seen import Seen, parse_seen
from leaseq.operations.submission import PRIORITIES
from leaseq.options import SubmitOptions
from leaseq.safe_text.redaction import Rules, redact, restore
from leaseq_api import parameters as given
from leaseq_api.actions import submit_replay
from leaseq_api.life import life_facts
from leaseq_api.refused import Refused
from leaseq_api.security.principal import check_scope
from leaseq_api.service import Injected, Service
from leaseq_api.ui.answer import ROOT, see_other
from leaseq_api.ui.contents import SHOWN_BYTES
from leaseq_api.ui.forms import read_form
from leaseq_api.ui.page import AnyRequest, page

ACTION_FIELDS = ("seen", "operation_id")
REPLAY_FIELDS = ("payload", "queue", "priority", "run_at", "key")


class Question(Struct, frozen=True):
    """The consequences of an action, in numbers."""

    verb: str
    button: str
    follows: list[str]
    possible: bool


@get("/tasks/{task_id:str}/cancel", scope="operate", query=("seen",))
async def ask_cancel(
    request: AnyRequest, service: Injected, task_id: given.TaskId
) -> Response[str]:
    """Show the page that asks before a cancellation."""
    task = await _find(request, service, task_id)
    running = task.state is State.PROCESSING
    follows = [
        f"Attempt {task.attempt} runs. Its worker is asked to stop it: an async handler within about a "
        "second, a plain one when it looks at ctx.stopping or its time is over."
        if running
        else "It ends in CANCELLED immediately, and no handler runs.",
        "It can be redriven afterwards.",
    ]
    question = Question("cancel", "Cancel the task", follows, task.finished_at is None)
    return await _ask(request, service, task, question)


@get("/tasks/{task_id:str}/redrive", scope="operate", query=("seen",))
async def ask_redrive(
    request: AnyRequest, service: Injected, task_id: given.TaskId
) -> Response[str]:
    """Show the page that asks before a redrive."""
    task = await _find(request, service, task_id)
    first = task.attempt + 1
    follows = [
        (
            f"The handler {task.type} runs again, as attempts {first} to {task.attempt + task.max_attempts} "
            f"at most, in queue {task.queue}."
        ),
        "Effects outside ctx.transaction() may happen again. Writes of failed attempts in it were undone.",
        "ctx.key() stays the same, so that other services can recognize the repetition.",
    ]
    possible = (
        task.state in (State.FAILED, State.CANCELLED)
        and task.erased_at is None
        and task.key_freed_at is None
    )
    return await _ask(
        request, service, task, Question("redrive", "Redrive the task", follows, possible)
    )


@post("/tasks/{task_id:str}/cancel", scope="operate")
async def cancel_task(
    request: AnyRequest, service: Injected, task_id: given.TaskId
) -> Response[str]:
    """Cancel a task as it was seen."""
    task_id = given.check_task_id(task_id)
    seen, request_id = await _read_action(request, service)
    await service.operator_of(request.scope).cancel(task_id, seen=seen, request_id=request_id)
    return see_other(f"{ROOT}/tasks/{task_id}")


@post("/tasks/{task_id:str}/redrive", scope="operate")
async def redrive_task(
    request: AnyRequest, service: Injected, task_id: given.TaskId
) -> Response[str]:
    """Redrive a task as it was seen."""
    task_id = given.check_task_id(task_id)
    seen, request_id = await _read_action(request, service)
    await service.operator_of(request.scope).redrive(task_id, seen=seen, request_id=request_id)
    return see_other(f"{ROOT}/tasks/{task_id}")


@get("/tasks/{task_id:str}/replay", scope="submit")
async def ask_replay(
    request: AnyRequest, service: Injected, task_id: given.TaskId
) -> Response[str]:
    """Show the form of a replay."""
    _require(request, service, "read", "payloads")
    facts = await life_facts(service, request.scope, given.check_task_id(task_id))
    task = facts.task
    if task.payload is None:
        raise TaskConflict(f"task {task_id} was erased: it has no payload any more")
    rules = await service.redactor.rules_of(task.type)
    values = {
        "payload": _formatted(_masked(task.payload, rules)),
        "queue": task.queue,
        "priority": task.priority.name.lower(),
        "run_at": "",
        "key": default_key(task.task_id, len(facts.replayed_as) + 1),
    }
    return await _ask_replay(request, service, task, values)


@post("/tasks/{task_id:str}/replay", scope="submit")
async def replay_task(
    request: AnyRequest, service: Injected, task_id: given.TaskId
) -> Response[str]:
    """Submit the new task, or show the form again with the error at its field."""
    _require(request, service, "read", "payloads")
    task_id = given.check_task_id(task_id)
    values = dict.fromkeys(REPLAY_FIELDS, "") | await read_form(request, REPLAY_FIELDS)
    task = await service.tasks_of(request.scope).find(task_id)
    try:
        wanted = Replay(
            payload=await _edited(service, task, values["payload"]),
            options=_options(values),
            idempotency_key=values["key"].strip() or None,
        )
        _, submitted, _ = await submit_replay(service, request.scope, task_id, wanted)
    except (SubmissionInvalid, ValueError) as error:
        field, place = _field_of(error)
        mask = (await service.redactor.mask_task(task)).mask
        told = {field: mask.text(f"{place}{error}")}
        return await _ask_replay(request, service, task, values, wrong=told, status=422)
    return see_other(f"{ROOT}/tasks/{submitted.task_id}")


async def _ask(
    request: AnyRequest, service: Service, task: Task, question: Question
) -> Response[str]:
    _require(request, service)
    shown = request.query_params.get("seen")
    present = Seen(task.state, task.attempt)
    values: dict[str, Any] = {
        "task": task,
        "question": question,
        "seen": str(present),
        "moved": shown is not None and parse_seen(shown) != present,
        "operation_id": new_task_id(),
    }
    title = f"{question.verb.capitalize()} {task.type} {task.task_id[:8]}"
    return await page(request, service, "task_action.html", title=title, values=values)


async def _ask_replay(
    request: AnyRequest,
    service: Service,
    task: Task,
    values: dict[str, str],
    *,
    wrong: dict[str, str] | None = None,
    status: int = 200,
) -> Response[str]:
    rules = await service.redactor.rules_of(task.type)
    original = _formatted(_masked(task.payload or b"", rules))
    context: dict[str, Any] = {
        "task": task,
        "values": values,
        "wrong": wrong or {},
        "priorities": list(PRIORITIES),
        "changes": _changes(original, values["payload"]),
    }
    title = f"Replay {task.type} {task.task_id[:8]}"
    return await page(
        request, service, "task_replay.html", title=title, values=context, status=status
    )


async def _find(request: AnyRequest, service: Service, task_id: str) -> Task:
    _require(request, service, "read")
    return await service.tasks_of(request.scope).find(given.check_task_id(task_id))


def _require(request: AnyRequest, service: Service, *scopes: Any) -> None:
    """Raise `Refused` where the dashboard only reads, or the key lacks a scope."""
    if service.config.ui_read_only:
        raise Refused("scope_missing", "this dashboard only reads (LEASEQ_UI_READ_ONLY)")
    for scope in scopes:
        check_scope(request.scope, scope)


async def _read_action(request: AnyRequest, service: Service) -> tuple[Seen | None, str | None]:
    _require(request, service)
    values = await read_form(request, ACTION_FIELDS)
    operation_id = values.get("operation_id")
    if operation_id is not None:
        operation_id = given.check_task_id(operation_id)
    seen = values.get("seen")
    return None if seen is None else parse_seen(seen), operation_id


def _options(values: dict[str, str]) -> SubmitOptions:
    """The options of the form. Raises `msgspec.ValidationError`."""
    chosen = {
        name: text for name in ("queue", "priority", "run_at") if (text := values[name].strip())
    }
    return msgspec.convert(chosen, SubmitOptions)


async def _edited(service: Service, task: Task, text: str) -> bytes:
    """The payload of the form, with the values that stay masked in it. Byte for byte that of the
    task, if it was not changed. Raises `ValueError`."""
    payload = text.replace("\r\n", "\n").strip()
    if task.payload is None:
        return payload.encode()
    rules = await service.redactor.rules_of(task.type)
    if payload == _formatted(_masked(task.payload, rules)):
        return task.payload
    return restore(payload.encode(), task.payload, rules)


def _masked(payload: bytes, rules: Rules) -> bytes:
    return redact(payload, rules, numbered=True).raw


def _field_of(error: LeaseqError | ValueError) -> tuple[str, str]:
    """The field of the form to blame, and the place in it."""
    if isinstance(error, PayloadInvalid):
        return "payload", f"at {error.pointer}: " if error.pointer else ""
    text = str(error)
    for name in ("run_at", "queue", "priority"):
        if name in text:
            return name, ""
    return ("key", "") if "key" in text else ("payload", "")


def _formatted(payload: bytes) -> str:
    """The payload, indented if it is short. Its numbers stay as they are written."""
    text = payload.decode("utf-8", "replace")
    return msgspec.json.format(text, indent=2) if 0 < len(text) <= SHOWN_BYTES else text


def _changes(original: str, edited: str) -> list[tuple[str, str]]:
    """The lines that differ, with their sign."""
    one, other = original.splitlines(), edited.replace("\r\n", "\n").splitlines()
    if one == other or len(one) + len(other) > 2000:
        return []
    found = difflib.unified_diff(one, other, lineterm="", n=2)
    return [(line[:1], line[1:]) for line in list(found)[2:]]


HANDLERS = (ask_cancel, ask_redrive, cancel_task, redrive_task, ask_replay, replay_task)

__all__ = ["HANDLERS"]
