"""The routes of the dashboard, and what all of them share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from litestar import Response, Router, get
from litestar.exceptions import HTTPException
from litestar.params import PathParameter
from litestar.types import ControllerRouterHandler

from leaseq.config import Config
from leaseq.errors import LeaseqError
from leaseq_api.refused import Refused
from leaseq_api.ui import go_to, live, refused_pages, sign_in, static_files
from leaseq_api.ui.answer import ROOT, see_other
from leaseq_api.ui.page import AnyRequest, check_query
from leaseq_api.ui.pages import (
    check,
    compare,
    diary,
    due,
    failures,
    kill_tests,
    limits,
    operations,
    overview,
    queues,
    reveal,
    running,
    schedule_form,
    schedules,
    submit,
    task,
    task_actions,
    task_types,
    tasks,
    workers,
)
from leaseq_api.ui.shared_parts import share_parts

# Every page: a line here, and a line in `menu.py` if it is in the menu.
PAGES = (
    *sign_in.HANDLERS,
    *go_to.HANDLERS,
    *overview.HANDLERS,
    *queues.HANDLERS,
    *running.HANDLERS,
    *workers.HANDLERS,
    *task_types.HANDLERS,
    *due.HANDLERS,
    *check.HANDLERS,
    *operations.HANDLERS,
    *submit.HANDLERS,
    *tasks.HANDLERS,
    *task.HANDLERS,
    *task_actions.HANDLERS,
    *reveal.HANDLERS,
    *compare.HANDLERS,
    *failures.HANDLERS,
    *diary.HANDLERS,
    *schedules.HANDLERS,
    *schedule_form.HANDLERS,
    *limits.HANDLERS,
)

Rest = Annotated[str, PathParameter(description="The rest of an address that does not exist")]


# With a scope: as an open address it would open every address under it.
@get("/{rest:path}", scope="read")
async def show_nothing(rest: Rest) -> Response[str]:
    """The page for an address that does not exist."""
    raise Refused("not_found", "the dashboard has no page at this address")


@get("/", scope=None, include_in_schema=False)
async def show_root(request: AnyRequest) -> Response[str]:
    """Send a browser to the dashboard. A program gets the problem of an address that does not
    exist."""
    if "text/html" in request.headers.get("accept", ""):
        return see_other(ROOT)
    raise Refused("not_found", "no route has this path; /schema lists all routes")


def _router(path: str, handlers: Sequence[ControllerRouterHandler]) -> Router:
    return Router(
        path,
        route_handlers=handlers,
        before_request=check_query,
        middleware=[share_parts],
        include_in_schema=False,
        exception_handlers={
            Refused: refused_pages.of_refusal,
            LeaseqError: refused_pages.of_leaseq,
            HTTPException: refused_pages.of_http,
            Exception: refused_pages.of_fault,
        },
    )


_pages = _router(ROOT, [*PAGES, live.follow_changes, static_files.show_file, show_nothing])
_dev = _router(f"{ROOT}/dev", kill_tests.HANDLERS)

_root = Router("/", route_handlers=[show_root])


def routes(config: Config, *, kill_tests: bool) -> tuple[Router, ...]:
    """The routes of the dashboard; none where it is turned off. `kill_tests`: with those that break
    things."""
    if config.ui != "on":
        return ()
    return (_pages, _root, _dev) if kill_tests else (_pages, _root)


__all__ = ["routes"]
