"""The streams of events in the OpenAPI document.

OpenAPI 3.1 has no word for the events of a stream. `x-event-data` names the schema of the data of
each event.
"""

from __future__ import annotations

from typing import Any

Tree = dict[str, Any]

MEDIA_TYPE = "text/event-stream"
_OF_TASK = """\
retry: 1729

event: state
id: 0-5f1c1c9f7a0d3b52-0
data: {"task_id":"019333c0-5f4e-7b6e-9d3c-0d6f1c1c9f7a","state":"PROCESSING","attempt":1}

event: progress
id: 0-5f1c1c9f7a0d3b52-9a1b6d20c4e8f733
data: {"attempt":1,"progress":{"done":0.5}}

event: state
id: 1-c3d8e1b07f5a2944-9a1b6d20c4e8f733
data: {"task_id":"019333c0-5f4e-7b6e-9d3c-0d6f1c1c9f7a","state":"SUCCESS","attempt":1,"result":true}

"""
_DATA = {
    "follow_task": {
        "state": "FollowedTaskView",
        "attempt": "AttemptView",
        "progress": "ProgressView",
    },
}
_EXAMPLES = {"follow_task": _OF_TASK}
_OVER = "The task has ended, and the event with this `Last-Event-ID` was its end: there is nothing to come back for"


def complete_stream(operation: Tree) -> None:
    """Describe the events of an operation, and how a client continues."""
    name: str = operation["operationId"]
    operation.setdefault("parameters", []).append(
        {
            "name": "Last-Event-ID",
            "in": "header",
            "required": False,
            "description": "The id of the last event that the client got: the stream continues after it",
            "schema": {"type": "string", "maxLength": 200},
        }
    )
    described = {"type": "string", "description": "Server-sent events (WHATWG HTML, 9.2)"}
    operation["responses"]["200"]["content"] = {
        MEDIA_TYPE: {
            "schema": described,
            "examples": {"stream": {"summary": "A stream", "value": _EXAMPLES[name]}},
            "x-event-data": {
                event: {"$ref": f"#/components/schemas/{schema}"}
                for event, schema in _DATA[name].items()
            },
        }
    }
    if name == "follow_task":
        operation["responses"]["204"] = {"description": _OVER}


__all__ = ["MEDIA_TYPE", "complete_stream"]
