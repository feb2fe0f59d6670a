"""A running service passes all checks of schemathesis.

LEASEQ_TEST_SCHEMATHESIS_EXAMPLES sets how many requests are made up for each operation, beside
those that it derives from limits.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from support.processes import Services

EXAMPLES = os.environ.get("LEASEQ_TEST_SCHEMATHESIS_EXAMPLES", "1")
SEED = "11"
# Postgres keeps no U+0000 in JSON, and JSON Schema has no word for a character that no value may
# contain at any depth.
# An item of a batch that does not fit is refused alone, and the answer to the batch is 200.
# A task that may be redriven, erased or given a new key has ended, which no worker does here.
SETTINGS = """
[warnings]
display = ["missing_auth", "validation_mismatch", "unsupported_regex", "method_not_allowed", "low_valid_rate"]

[generation]
allow-x00 = false

[checks]
enabled = true

[[operations]]
include-name = "POST /api/tasks/batch"

[operations.checks]
negative_data_rejection.enabled = false
"""
HOOKS = Path(__file__).parent.parent / "apps" / "schemathesis_hooks.py"

pytestmark = pytest.mark.timeout(1200 + 10 * int(EXAMPLES))


@pytest.mark.slow("requests from the whole OpenAPI document")
async def test_schemathesis_finds_nothing(services: Services, tmp_path: Path) -> None:
    api = await services.start("api", "--port", "0")
    (said,) = await api.hear("api.started")
    settings = tmp_path / "schemathesis.toml"
    settings.write_text(SETTINGS)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(settings), "run"),
        *(
            f"http://127.0.0.1:{said['port']}/schema",
            # An erased task stays, and shows that it was erased.
            "--exclude-checks",
            "use_after_free",
            "--max-examples",
            EXAMPLES,
            "--seed",
            SEED,
        ),
        *("--generation-deterministic", "--workers", "1", "--no-color"),
        cwd=tmp_path,
        env=os.environ | {"SCHEMATHESIS_HOOKS": str(HOOKS)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output = (await process.communicate())[0].decode()
    assert process.returncode == 0, output[-20_000:]
    assert "No issues found" in output, output[-2_000:]
    assert not [line for line in api.said if line["event"] == "request.failed"]
