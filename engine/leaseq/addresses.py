"""Check the hosts, addresses and networks of the configuration."""

from __future__ import annotations

import re
from ipaddress import ip_network

from leaseq.errors import ConfigInvalid

# A valid Host header (RFC 9110, 7.2): a name or an address, with or without a port.
API_HOST = re.compile(
    r"(?:[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,252}[A-Za-z0-9_])?|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?"
)


def check_host(variable: str, host: str) -> None:
    """Raise `ConfigInvalid` for text that a socket cannot take."""
    # A socket encodes a name with IDNA, whose labels have 1 to 63 characters.
    labels = host.removesuffix(".").split(".")
    if not (host.isascii() and host.isprintable() and all(0 < len(label) < 64 for label in labels)):
        raise ConfigInvalid(
            f"{variable}={host!a} is not an address: write one such as 127.0.0.1 or ::1"
        )


def check_hosts(hosts: str | None) -> None:
    """Raise `ConfigInvalid` for a list with something else than hosts."""
    for host in () if hosts is None else hosts.split(","):
        if not API_HOST.fullmatch(host.strip()):
            rule = "separate names or addresses with commas, each with an optional port, such as queue.example.org,api:8000"
            raise ConfigInvalid(
                f"LEASEQ_API_HOSTS={hosts!a} contains {host.strip()!a}, which is not a host: {rule}"
            )


def check_proxies(proxies: str | None) -> None:
    """Raise `ConfigInvalid` for a list with something else than addresses and networks."""
    for proxy in () if proxies is None else proxies.split(","):
        try:
            ip_network(proxy.strip())
        except ValueError:
            rule = "separate addresses and networks with commas, such as 10.0.0.7,192.168.0.0/16,fd00::/8"
            raise ConfigInvalid(
                f"LEASEQ_API_PROXIES={proxies!a} contains {proxy.strip()!a}, which is no address and no network: {rule}"
            ) from None


__all__ = ["API_HOST", "check_host", "check_hosts", "check_proxies"]
