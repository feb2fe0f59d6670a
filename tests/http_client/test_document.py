"""leaseq-http agrees with the OpenAPI document of the service.

A new operation, parameter, option or field makes one of these tests fail, so that it is either
added to the client or listed here with the reason why not.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any, get_args

import msgspec
import pytest

from leaseq_api.problems import KINDS
from leaseq_http import (
    bulk,
    errors,
    explanations,
    failures,
    limits,
    model,
    quotas,
    schedules,
    statistics,
)
from leaseq_http.batches import MOST_ITEMS
from leaseq_http.calls import BatchOutcome
from leaseq_http.errors import LeaseqHTTPError, ProblemError, kind_of
from leaseq_http.following import OF_ALL_TASKS, OF_TASK
from leaseq_http.routes import ROUTES
from leaseq_http.submission import OPTIONS
from support.api import Api
from support.document import Document

# Operations that the client leaves out, and why.
LEFT_OUT = {
    "live": "for the supervisor of the process",
    "ready": "for a load balancer",
    "metrics": "for Prometheus",
    "life": "for a page; `attempts` has the attempts",
    "unacknowledge": "for a person who has just acknowledged",
    "list_notices": "for an operator of the cluster",
    "show_overview": "for operators, who have the dashboard and `leaseq top`",
    "list_due": "for operators, who have the dashboard",
    "show_check": "for operators, who have `leaseq check`",
    "show_type": "for operators, who have the dashboard",
    "list_running": "for operators, who have the dashboard",
    "list_services": "for operators, who have the dashboard",
    "show_worker": "for operators, who have the dashboard",
    **dict.fromkeys(("show_queue", "put_queue"), "for operators, who have `leaseq queues`"),
    "show_census": "for an operator, not for a program that uses the queue",
    **dict.fromkeys(
        (
            *("create_key", "list_keys", "rotate_key", "revoke_key", "limit_key"),
            *("create_tenant", "limit_tenant", "list_tenants"),
        ),
        "for an administrator, not for a program that uses the queue",
    ),
}
# The schema of each struct.
STRUCTS: dict[str, type[msgspec.Struct]] = {
    "TaskView": model.Task,
    "TaskSummaryView": model.TaskSummary,
    "TaskPage": model.TaskPage,
    "AttemptView": model.Attempt,
    "AttemptList": model.AttemptList,
    "FollowedTaskView": model.TaskState,
    "ProgressView": model.Progress,
    "ListedTaskView": model.ListedTask,
    "MissedView": model.Missed,
    "DepthsView": model.Depths,
    "QueueView": model.Queue,
    "QueueList": model.QueueList,
    "PausedView": model.PausedQueue,
    "OperationView": model.Operation,
    "OperationPage": model.OperationPage,
    "WorkerView": model.Worker,
    "TypeView": model.TaskType,
    "TypeList": model.TypeList,
    "WorkerList": model.WorkerList,
    "PreviewView": bulk.BulkPreview,
    "SampleView": bulk.BulkSample,
    "FilterView": bulk.UsedFilter,
    "RefusalCount": bulk.RefusalCount,
    "BulkOperationView": bulk.BulkOperation,
    "FailureView": failures.Failure,
    "SeenVersion": failures.SeenVersion,
    "FailurePage": failures.FailurePage,
    "FailedAttemptView": failures.FailedAttempt,
    "ErrorVariant": failures.ErrorVariant,
    "FailureDetail": failures.FailureDetail,
    "QuotaUse": quotas.Quota,
    "QueueQuotaUse": quotas.QueueQuota,
    "ByteQuotaUse": quotas.ByteQuota,
    "QuotaView": quotas.TenantQuota,
    "Statistics": statistics.Statistics,
    "StatisticsStep": statistics.StatisticsStep,
    "QueueFigures": statistics.QueueFigures,
    "TypeFigures": statistics.TypeFigures,
    "Figures": statistics.Figures,
    "Durations": statistics.Durations,
    "EndedAttempts": statistics.EndedAttempts,
    "Why": explanations.Why,
    "Evidence": explanations.Evidence,
    "FailureOfTask": explanations.FailureOfTask,
    "LimitView": limits.Limit,
    "LimitKeyView": limits.LimitKey,
    "LimitDetail": limits.LimitDetail,
    "LimitList": limits.LimitList,
    "DeletedLimit": limits.DeletedLimit,
    "ScheduleView": schedules.Schedule,
    "ScheduleRun": schedules.ScheduleRun,
    "SchedulePage": schedules.SchedulePage,
    "RunView": schedules.StartedRun,
}
# Schemas that become no struct of their own, and why.
NO_STRUCT = {
    "PauseBody": "one argument of `pause`",
    "ActionBody": "the arguments of `cancel` and `redrive`",
    "ReplayBody": "the arguments of `replay`, whose options are those of a submission",
    "SubmitBody": "a submission, whose options are compared below",
    "RememberedTask": "an answer to a submission, which is a `Submitted`",
    "Problem": "becomes an exception",
    **dict.fromkeys(
        ("BatchItem", "BatchTask", "BatchOutcome", "BatchAnswer"),
        "of a batch, which is compared below",
    ),
    **dict.fromkeys(
        ("LifeBar", "LifeLane", "LifeLine", "LifeMark", "LifeView", "NoticePage", "NoticeView"),
        "of operations that are left out",
    ),
    "Live": "of an operation that is left out",
    **dict.fromkeys(
        (
            *("CensusView", "CensusCountView"),
            *("Overview", "Fleet", "LaneCounts", "Need", "QueueStanding"),
            *("Running", "RunningTask", "ServiceList", "ServiceView"),
            *("WorkerDetail", "WorkerType", "TypeDetail", "TypeVersion"),
            *("Due", "DueMinute", "DueTask", "Check", "Finding"),
        ),
        "of an operation that is left out",
    ),
    "Ready": "of an operation that is left out",
    **dict.fromkeys(
        (
            *("ApiKey", "ApiKeyList", "IssuedKey", "KeyBody", "KeyLimitBody", "RotateBody"),
            *("Tenant", "TenantBody", "TenantList", "TenantQuotasBody", "TenantView"),
        ),
        "of operations that are left out",
    ),
    "FilterBody": "a TypedDict, the arguments of `preview_operation`",
    "PreviewBody": "the arguments of `preview_operation`",
    "StartBody": "the arguments of `start_operation`",
    **dict.fromkeys(("QueueBody", "QueueLineView"), "of operations that are left out"),
    "RunBody": "the argument of `schedules.run`",
    "ScheduleBody": "the arguments of `schedules.put`, which are compared below",
    "LimitBody": "the arguments of `limits.put`, which are compared below",
    "State": "a Literal, which is compared below",
    "UniqueView": "a dict, so that a later service may have another rule",
    "WaitingFor": "a dict of texts, so that a later service may name another reason",
    "Outcome": "a str, because a later service may have another one",
}
SAMPLES = {
    "uuid": "0199d5a0-0000-7000-8000-000000000000",
    "date-time": "2026-11-30T12:00:00.123456Z",
}


def operations(document: Document) -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    for path, item in document.paths.items():
        for method, operation in item.items():
            if method not in ("head", "options"):
                yield operation["operationId"], method.upper(), path, operation


async def test_every_operation_is_covered_or_left_out_with_a_reason(api: Api) -> None:
    found = {name: (method, path) for name, method, path, _ in operations(api.document)}
    covered = {name: (each.method, each.path) for name, each in ROUTES.items()}
    assert {name: found.get(name) for name in covered} == covered
    assert found.keys() - covered.keys() == LEFT_OUT.keys()


async def test_queries_are_those_of_the_document(api: Api) -> None:
    for name, _, _, operation in operations(api.document):
        if name in ROUTES:
            parameters = operation.get("parameters", [])
            query = {each["name"] for each in parameters if each["in"] == "query"}
            assert query == set(ROUTES[name].query), name


async def test_options_are_those_of_the_document(api: Api) -> None:
    body = api.document.content["components"]["schemas"]["SubmitBody"]
    assert body["properties"].keys() == OPTIONS | {"type", "payload"}


async def test_every_schema_has_its_struct(api: Api) -> None:
    schemas = api.document.content["components"]["schemas"]
    assert schemas.keys() == STRUCTS.keys() | NO_STRUCT.keys()


async def test_states_are_those_of_the_document(api: Api) -> None:
    states = api.document.content["components"]["schemas"]["State"]["enum"]
    assert sorted(states) == sorted(get_args(model.State))


async def test_structs_decode_every_value_that_the_schemas_allow(api: Api) -> None:
    """Every field in each of its forms, with nothing lost and nothing changed."""
    schemas = api.document.content["components"]["schemas"]
    for name, kind in STRUCTS.items():
        assert set(kind.__struct_fields__) == schemas[name]["properties"].keys(), name
        tried = 0
        for value in values(schemas, {"$ref": f"#/components/schemas/{name}"}):
            api.document.validate({"$ref": f"#/components/schemas/{name}"}, value)
            decoded = msgspec.json.decode(msgspec.json.encode(value), type=kind)
            assert msgspec.json.decode(msgspec.json.encode(decoded)) == value, name
            tried += 1
        assert tried >= len(kind.__struct_fields__) / 2, name


async def test_batch_has_the_fields_of_the_document(api: Api) -> None:
    schemas = api.document.content["components"]["schemas"]
    assert schemas["BatchItem"]["properties"].keys() == OPTIONS | {
        "type",
        "payload",
        "idempotency_key",
    }
    assert schemas["BatchOutcome"]["properties"].keys() == set(BatchOutcome.__struct_fields__)
    assert schemas["BatchAnswer"]["properties"].keys() == {"items"}
    assert schemas["BatchAnswer"]["properties"]["items"]["maxItems"] >= MOST_ITEMS


@pytest.mark.parametrize(
    ("name", "kinds"), [("follow_task", OF_TASK), ("follow_tasks", OF_ALL_TASKS)]
)
async def test_events_are_those_of_the_document(
    api: Api, name: str, kinds: dict[str, type[msgspec.Struct]]
) -> None:
    answer = api.document.paths[ROUTES[name].path]["get"]["responses"]["200"]
    (content,) = answer["content"].values()
    found = {
        each["properties"]["event"]["const"]: each["properties"]["data"]["contentSchema"]["$ref"]
        for each in content["schema"]["anyOf"]
    }
    assert {event: STRUCTS[ref.rpartition("/")[2]] for event, ref in found.items()} == kinds


async def test_the_arguments_of_an_operation_are_those_of_its_bodies(api: Api) -> None:
    schemas = api.document.content["components"]["schemas"]
    assert bulk.BulkFilter.__annotations__.keys() == schemas["FilterBody"]["properties"].keys()
    given = {"action", "filter", "operation_id"} | bulk.BulkStart.__annotations__.keys()
    assert given == schemas["StartBody"]["properties"].keys()


async def test_the_arguments_of_put_are_those_of_its_body(api: Api) -> None:
    schemas = api.document.content["components"]["schemas"]
    for name, fields, fixed in (
        ("LimitBody", limits.LimitBounds, set()),
        ("ScheduleBody", schedules.ScheduleFields, {"type"}),
    ):
        assert fields.__annotations__.keys() | fixed == schemas[name]["properties"].keys()


async def test_a_field_that_a_later_service_adds_is_ignored() -> None:
    queue = b'{"name":"a","paused":true,"depths":null,"colour":"red"}'
    assert msgspec.json.decode(queue, type=model.Queue).paused


async def test_accepted_submission_is_read_from_both_of_its_schemas(api: Api) -> None:
    schemas = api.document.content["components"]["schemas"]
    for name in ("TaskView", "RememberedTask", "BatchTask"):
        fields = set(model.Submitted.__struct_fields__) - {"replayed", "deduplicated"}
        assert fields <= schemas[name]["properties"].keys()


def test_every_code_has_the_class_that_is_named_like_it() -> None:
    for code, problem in KINDS.items():
        kind = kind_of(code, problem.status)
        assert issubclass(kind, ProblemError)
        assert issubclass(kind, errors.ServiceFault) == (problem.status >= 500)
    named = {kind.default_code for kind in errors._BY_CODE.values()}
    assert named <= KINDS.keys()


def test_the_tree_of_errors_is_drawn_as_it_is() -> None:
    drawn = re.findall(r"^([ |]*)(?:\+-- )?(\w+)(?: {2,}.*)?$", errors.__doc__ or "", re.MULTILINE)
    depths = {name: len(indent) // 4 for indent, name in drawn if name in TREE}
    # The tree itself is indented, and a class stands behind `+-- `.
    assert depths == {name: max(len(kind.__mro__) - ABOVE, 1) for name, kind in TREE.items()}


TREE = {
    name: kind
    for name, kind in vars(errors).items()
    if inspect.isclass(kind) and issubclass(kind, LeaseqHTTPError)
}
ABOVE = len(LeaseqHTTPError.__mro__)


def values(schemas: dict[str, Any], schema: dict[str, Any]) -> Iterator[Any]:
    """Values that fit a schema, in each of its forms."""
    if "$ref" in schema:
        yield from values(schemas, schemas[schema["$ref"].rpartition("/")[2]])
    elif "anyOf" in schema:
        for each in schema["anyOf"]:
            yield from values(schemas, each)
    elif "enum" in schema:
        yield from schema["enum"]
    elif schema.get("type") == "object" and "properties" not in schema:
        yield from ({"name": value} for value in values(schemas, schema["additionalProperties"]))
        yield {}
    elif schema.get("type") == "object":
        yield from objects(schemas, schema)
    elif schema.get("type") == "array":
        yield from ([value] for value in values(schemas, schema["items"]))
        yield []
    elif schema.get("type") == "string":
        yield SAMPLES.get(schema.get("format", ""), "text")
    else:
        yield from PLAIN[schema.get("type")]


def objects(schemas: dict[str, Any], schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """One with all fields, then one for each other form of each field."""
    forms = {name: list(values(schemas, each)) for name, each in schema["properties"].items()}
    full = {name: found[0] for name, found in forms.items()}
    yield full
    for name, found in forms.items():
        yield from (full | {name: value} for value in found[1:])
        if name not in schema["required"]:
            yield {each: value for each, value in full.items() if each != name}


# Without a type: any value of a client or a handler.
PLAIN: dict[str | None, list[Any]] = {
    "boolean": [True, False],
    "null": [None],
    "integer": [1, 7],
    "number": [1.0, 0.25],
    None: [{"a": 1}, None, [1.5], "x"],
}
