"""The examples of the OpenAPI document for operators."""

from __future__ import annotations

from msgspec import Struct

from leaseq_api.action_examples import ACTION_EXAMPLES
from leaseq_api.fleet_examples import FLEET_EXAMPLES
from leaseq_api.overview_examples import OVERVIEW_EXAMPLES
from leaseq_api.statistics_examples import STATISTICS_EXAMPLES
from leaseq_api.why_examples import WHY_EXAMPLES

# By the name of the schema: name of the example, then what it shows, and the value.
OPERATE_EXAMPLES: dict[str, dict[str, tuple[str, Struct]]] = (
    ACTION_EXAMPLES | FLEET_EXAMPLES | OVERVIEW_EXAMPLES | STATISTICS_EXAMPLES | WHY_EXAMPLES
)

__all__ = ["OPERATE_EXAMPLES"]
