"""The headers of the answer to a submission, as the OpenAPI document has them."""

from __future__ import annotations

from leaseq_api.problem_responses import Tree, header_of


def submitted_headers() -> Tree:
    """Where the task is, and whether its key was seen before."""
    return {
        "Location": header_of(
            "The address of the task, unless it was pruned", pattern="^/api/tasks/[0-9a-f-]{36}$"
        ),
        "Idempotent-Replayed": header_of("Present where the key was seen before", enum=["true"]),
        "Leaseq-Deduplicated": header_of(
            "Present where another submission made the task that has the unique key", enum=["true"]
        ),
    }


__all__ = ["submitted_headers"]
