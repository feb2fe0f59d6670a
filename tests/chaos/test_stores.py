"""The servers of a run come back after what the run did to them."""

from __future__ import annotations

from pathlib import Path

import pytest

from leaseq.errors import ServerUnreachable
from leaseq_chaos.cluster.stores import Valkey


async def test_a_valkey_that_cannot_load_its_file_comes_back_without_its_data(
    tmp_path: Path,
) -> None:
    valkey = Valkey(tmp_path / "valkey")
    try:
        await valkey.start()
        async with valkey.client() as client:
            await client.set("a", "b")
        await valkey.kill()
        (file,) = (valkey.files / "appendonlydir").glob("*.incr.aof")
        file.write_bytes(b"*3\r\n$3\r\nSE" + file.read_bytes())
        with pytest.raises(ServerUnreachable):
            valkey.server.start()
        await valkey.start()
        async with valkey.client() as client:
            assert await client.get("a") is None
    finally:
        await valkey.destroy()
