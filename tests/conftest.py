"""The plugins with the fixtures of all tests."""

from hypothesis import HealthCheck, settings

# A loaded machine takes a second for what another does in a millisecond: neither is a finding.
settings.register_profile("leaseq", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("leaseq")

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
    "support.order",
    "support.skips",
]
