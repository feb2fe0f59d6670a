"""The pages of the kill tests, which exist under `leaseq dev` alone.

Each test names its promise before it is started. Afterwards its page compares what happened with it.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated, get_args

import msgspec
from litestar import Response, get, post
from litestar.params import PathParameter

from leaseq.errors import LeaseqError
from leaseq.operations.kill_tests.protocol import OF_A_WORKER, Kind
from leaseq.operations.life.lanes import life_of
from leaseq.operations.life.picture import draw_life
from leaseq_api import parameters as given
from leaseq_api.fleet import read_running
from leaseq_api.kill_tests import KillTests, judged, prepare
from leaseq_api.life import life_facts
from leaseq_api.refused import Refused
from leaseq_api.security.principal import require_unbound
from leaseq_api.service import Injected
from leaseq_api.ui.answer import ROOT, see_other
from leaseq_api.ui.forms import OPERATION_ID, new_operation_id, operation_of, read_form
from leaseq_api.ui.page import AnyRequest, page, require_changes

FIELDS = (OPERATION_ID, "kind", "task_id")
SHOWN_TASKS = 20


class Promise(msgspec.Struct, frozen=True):
    """A test in words: its button, the fault, and the promise."""

    button: str
    does: str
    promise: str


PROMISES: dict[Kind, Promise] = {
    "kill-worker": Promise(
        "kill -9 its worker",
        "SIGKILL to the worker process that runs the task.",
        "Its tasks are taken back within one second. They run again within the same second where another "
        "worker process serves the queue, and else with the next process. Nothing that the killed attempt "
        "did in ctx.transaction() counts, so its rows exist exactly once.",
    ),
    "freeze-worker": Promise(
        "Freeze its worker",
        "SIGSTOP to the worker and its supervisor until the lease has been over for some seconds (15 s with a "
        "lease of 10 s), then SIGCONT.",
        "Its tasks are taken back within the lease and two seconds. Once it is awake, the stale worker "
        "changes nothing: endings under the old fence are refused.",
    ),
    "flush-redis": Promise(
        "Flush Redis",
        "FLUSHALL: all deliveries and leases in Redis are gone.",
        "No accepted task is lost, work goes on without a person, and what runs is not run twice.",
    ),
    "stop-redis": Promise(
        "Stop Redis for 10 s",
        "Redis is stopped and started again ten seconds later.",
        "Submissions are accepted meanwhile. No accepted task is lost, work goes on without a person, "
        "and what runs is not run twice.",
    ),
    "restart-postgres": Promise(
        "Restart Postgres",
        "A fast shutdown of Postgres, which ends every connection, and a start.",
        "No accepted task is lost, work goes on without a person, and what runs is not run twice: its "
        "worker writes the ending once Postgres answers.",
    ),
}
assert set(PROMISES) == set(get_args(Kind))
KINDS = {
    "kept": "good",
    "broken": "bad",
    "not finished": "warn",
    "shows nothing": "quiet",
    "not carried out": "bad",
}

TestId = Annotated[str, PathParameter(description="The id of a kill test")]


@get("/", scope="read")
async def show_kill_tests(request: AnyRequest, service: Injected) -> Response[str]:
    """Show the kill tests that can be started, and those that were."""
    require_unbound(request.scope)
    tests = await _tests_of(request).list()
    running = await read_running(service, request)
    values = {
        "promises": PROMISES,
        "of_a_worker": OF_A_WORKER,
        "tests": tests,
        "running": (running.tasks or [])[:SHOWN_TASKS],
        "operation_ids": {kind: new_operation_id() for kind in PROMISES},
        "at": running.at,
    }
    return await page(request, service, "kill_tests.html", title="Kill tests", values=values)


@post("/", scope="operate", status_code=200)
async def start_kill_test(request: AnyRequest, service: Injected) -> Response[str]:
    """Start a kill test, and show its page."""
    require_changes(service)
    require_unbound(request.scope)
    form = await read_form(request, FIELDS)
    kind = form.get("kind")
    if kind not in PROMISES:
        raise Refused("parameter_invalid", "the form names no kill test: load its page again")
    test_id = operation_of(form)
    tests = _tests_of(request)
    if all(test.test_id != test_id for test in await tests.list()):
        task_id = form.get("task_id")
        await tests.start(
            await prepare(
                service,
                request,
                test_id=test_id,
                kind=msgspec.convert(kind, Kind),
                task_id=None if task_id is None else given.check_task_id(task_id),
            )
        )
    return see_other(f"{ROOT}/dev/{test_id}")


@get("/{test_id:str}", scope="read")
async def show_kill_test(request: AnyRequest, service: Injected, test_id: TestId) -> Response[str]:
    """Show what became of a kill test."""
    require_unbound(request.scope)
    test = await _tests_of(request).find(test_id)
    values = {
        "test": test,
        "promise": PROMISES[test.kind],
        "kinds": KINDS,
        "judgement": None,
        "facts": None,
        "picture": None,
        "at": None,
    }
    with suppress(LeaseqError):  # while Postgres is away, the page tells it
        values["judgement"] = await judged(service, test)
        values["at"] = (await service.overview.whole()).at
        if test.task_id is not None:
            facts = await life_facts(service, request.scope, test.task_id)
            values |= {"facts": facts, "picture": draw_life(life_of(facts))}
    return await page(
        request, service, "kill_test.html", title=f"Kill test: {test.kind}", values=values
    )


def _tests_of(request: AnyRequest) -> KillTests:
    tests: KillTests = request.app.state.kill_tests
    return tests


HANDLERS = (show_kill_tests, start_kill_test, show_kill_test)

__all__ = ["HANDLERS"]
