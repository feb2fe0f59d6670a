"""Which fixtures do all tests share? Each plugin answers one question of its own."""

pytest_plugins = [
    "fix_servers",
    "fix_embedded",
    "fix_proxy",
    "fix_ledger",
    "fix_processes",
    "fix_client",
    "fix_dispatch",
    "fix_pgbouncer",
]
