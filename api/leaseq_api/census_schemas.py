"""The answer about the number of tasks, and its example for the OpenAPI document."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from msgspec import Meta, Struct

from leaseq.model import Moment, State


class CensusCountView(Struct):
    """The tasks of a queue in a state."""

    queue: str
    state: State
    count: int
    error: Annotated[
        int, Meta(description="The standard error of the count. 0: the count is exact.")
    ]
    fewer_than: Annotated[
        int | None,
        Meta(
            description="A bound, where too few tasks were found for an estimate. Then the count and "
            "its error say little."
        ),
    ]


class CensusView(Struct):
    """The tasks of all tenants by queue and state, the most first."""

    at: Annotated[Moment | None, Meta(description="When they were counted. null: not yet.")]
    exact: Annotated[bool, Meta(description="Whether all tasks were counted, and not a sample.")]
    pages: Annotated[int, Meta(description="The pages of the table that were read.")]
    of_pages: Annotated[int, Meta(description="The pages of the table.")]
    counts: list[CensusCountView]


# By the name of the schema: name of the example, then what it shows, and the value.
CENSUS_EXAMPLES: dict[str, dict[str, tuple[str, Struct]]] = {
    "CensusView": {
        "sample": (
            "A sample of a large table",
            CensusView(
                at=datetime(2026, 11, 30, 12, 0, tzinfo=UTC),
                exact=False,
                pages=2_000,
                of_pages=640_000,
                counts=[
                    CensusCountView("billing", State.SUCCESS, 10_204_800, 228_100, None),
                    CensusCountView("billing", State.PENDING, 9_795_200, 218_900, None),
                    CensusCountView("mail", State.FAILED, 640, 640, 61_000),
                ],
            ),
        )
    },
}

__all__ = ["CENSUS_EXAMPLES", "CensusCountView", "CensusView"]
