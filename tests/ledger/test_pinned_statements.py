"""The statements of plain tasks stay as they are, byte for byte.

A feature that needs another statement gets a variant (docs/decisions/0064-permits-are-rows.md). One part
more in a statement, even one that finds nothing, costs each lone task four to twelve per cent. A change
of these files on purpose changes the checksum here, with the measured cost in its commit.
"""

from __future__ import annotations

from hashlib import sha256

import pytest

from support.source_tree import PACKAGES

PINNED = {
    "tasks/submit_plain.sql": "fe29a2eadb2945ae755a9e3dc6210c9917df95caba17f6f38db3835ce70e4045",
    "tasks/submit_tasks.sql": "828d7ab9e2ec4e9f9b823cb8f9b3217e9d64d7964e908b93b11d8f03e85aee8b",
    "attempts/succeed_attempts.sql": "ee8a0735d0525ca8d52749934b7d3d331a00552f82bca7720d135857164c8fe9",
    "attempts/settle_attempts.sql": "ad875b50a9efb3949caca8e258bcd3fc92537cd4dde720d29c410fe7b9010a44",
    "attempts/settle_errored.sql": "2987a868f4f0d45a4b5e1938353a3e51fee72a0ebcec4608f5bf25ab4b404753",
    "attempts/settle_failed.sql": "a72c22daa28ea46ae7c77a8141ac8fa2c9f77e9da972aee1024010a39ea6e0bd",
    "attempts/handler_succeed.sql": "bb36f12f84978fcf3c5de11ddb303c288f9a631403fdaaf91dd1c488fee9ff72",
    "tasks/handler_submit_tasks.sql": "8a9bfb8c8a07f5cb1d9a513637b59f89b91264ab66511573647b81acc7688cc0",
}


@pytest.mark.parametrize("name", PINNED)
def test_a_statement_of_plain_tasks_has_not_changed(name: str) -> None:
    content = (PACKAGES["leaseq"] / "ledger" / "sql" / name).read_bytes()
    assert sha256(content).hexdigest() == PINNED[name]
