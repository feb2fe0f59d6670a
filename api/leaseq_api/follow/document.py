"""The streams of events in the OpenAPI document.

OpenAPI 3.1 has no word for the events of a stream. The schema is that of one event, as tools that
read such documents expect it, and `contentSchema` is that of its data.
"""

from __future__ import annotations

import json
from typing import Any

Tree = dict[str, Any]

MEDIA_TYPE = "text/event-stream"
_ID = "01997b1c-8f2e-7c3a-9d41-5e6f7a8b9c0d"
# By operation and event: the schema of the data, an id, and the data of an example.
_EVENTS: dict[str, dict[str, tuple[str, str, Tree]]] = {
    "follow_task": {
        "state": (
            "FollowedTaskView",
            "0-5f1c1c9f7a0d3b52-0",
            {"task_id": _ID, "state": "PROCESSING", "attempt": 1},
        ),
        "attempt": (
            "AttemptView",
            "1-5f1c1c9f7a0d3b52-0",
            {"attempt": 1, "outcome": "errored", "next_state": "SCHEDULED"},
        ),
        "progress": (
            "ProgressView",
            "1-c3d8e1b07f5a2944-9a1b6d20c4e8f733",
            {"attempt": 2, "progress": {"done": 0.5}},
        ),
    },
    "follow_tasks": {
        "state": (
            "ListedTaskView",
            "93114",
            {"task_id": _ID, "queue": "billing", "type": "charge", "state": "PROCESSING"},
        ),
        "missed": ("MissedView", "93114", {"count": 312}),
    },
}
_OVER = "The task has ended, and the event with this `Last-Event-ID` was its end: there is nothing to come back for"


def complete_stream(operation: Tree) -> None:
    """Describe the events of an operation, and how a client continues."""
    name: str = operation["operationId"]
    events = _EVENTS[name]
    operation.setdefault("parameters", []).append(
        {
            "name": "Last-Event-ID",
            "in": "header",
            "required": False,
            "description": "The id of the last event that the client got: the stream continues after it",
            "schema": {"type": "string"},
        }
    )
    operation["responses"]["200"]["content"] = {
        MEDIA_TYPE: {
            "schema": {"anyOf": [_event(each, data) for each, (data, _, _) in events.items()]},
            "examples": {
                each: {
                    "summary": f"An event `{each}`, shortened",
                    "value": {"event": each, "id": event_id, "data": json.dumps(data)},
                }
                for each, (_, event_id, data) in events.items()
            },
        }
    }
    if name == "follow_task":
        operation["responses"]["204"] = {"description": _OVER}


def _event(name: str, data: str) -> Tree:
    """The schema of one event."""
    return {
        "type": "object",
        "description": f"An event `{name}`",
        "properties": {
            "event": {"type": "string", "const": name},
            "id": {"type": "string"},
            "data": {
                "type": "string",
                "contentMediaType": "application/json",
                "contentSchema": {"$ref": f"#/components/schemas/{data}"},
            },
        },
    }


__all__ = ["MEDIA_TYPE", "complete_stream"]
