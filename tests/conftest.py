"""Which fixtures do all tests share? Each plugin answers one question of its own."""

from hypothesis import HealthCheck, settings

# A loaded machine takes a second for what another does in a millisecond: neither is a finding.
settings.register_profile("leaseq", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("leaseq")

pytest_plugins = [
    "fix_memory",
    "fix_servers",
    "fix_embedded",
    "fix_proxy",
    "fix_ledger",
    "fix_processes",
    "fix_client",
    "fix_dispatch",
    "fix_pgbouncer",
    "fix_pace",
    "fix_hanging",
    "fix_order",
    "fix_skips",
]
