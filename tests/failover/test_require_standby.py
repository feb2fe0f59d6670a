"""With LEASEQ_REQUIRE_STANDBY a Postgres without a standby is refused."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from leaseq.config import Config
from leaseq.errors import ServerUnfit
from leaseq.server_checks.startup import inspect_servers, require_usable_servers
from support.api import Api, open_api, problem
from support.processes import PATIENCE
from support.servers import Pair, at
from support.worker import until

# Two servers of its own for each test.


async def test_the_start_the_check_and_readiness_ask_for_a_standby(
    config: Config, pair: Pair
) -> None:
    careful = replace(at(config, pair.primary.url), require_standby=True)
    with pytest.raises(ServerUnfit, match="synchronous_standby_names is empty"):
        await require_usable_servers(careful)
    assert [
        finding.about for finding in (await inspect_servers(careful)).findings if finding.fatal
    ] == ["postgres"]
    await require_usable_servers(replace(careful, require_standby=False))
    async with open_api(careful) as api:
        assert (
            problem(await api.client.get("/health/ready"), "not_ready")["postgres"] == "no standby"
        )
        pair.synchronous()
        await until(lambda: _is_ready(api), seconds=PATIENCE)
        await require_usable_servers(careful)
        assert not [
            finding for finding in (await inspect_servers(careful)).findings if finding.fatal
        ]
        pair.standby.stop("immediate")
        await until(lambda: _has_no_standby(api), seconds=PATIENCE)


async def _is_ready(api: Api) -> bool:
    return (await api.client.get("/health/ready")).status_code == 200


async def _has_no_standby(api: Api) -> bool:
    return bool((await api.client.get("/health/ready")).json()["postgres"] == "no standby")
