"""The plugins with the fixtures of all tests."""

pytest_plugins = [
    "support.events",
    "support.memory",
    "support.servers",
    "support.embedded",
    "support.proxy",
    "support.ledger",
    "support.processes",
    "support.client",
    "support.dispatch",
    "support.pgbouncer",
    "support.pace",
    "support.hanging",
    "support.slow",
    "support.order",
    "support.examples",
    "support.skips",
    "support.garbage",
]
