"""The host names for which this API answers.

A page of any web site can send requests to an address that only its visitor reaches, by letting its
own name resolve to that address (DNS rebinding). Such a request still carries the name of that site
in Host, so a name that is not listed is refused. The loopback interface is always listed. A port is
compared only where the list names one: tunnels and published ports change it.
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import ip_address

from leaseq.addresses import API_HOST
from leaseq.config import Config

_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


class Hosts:
    """The allow-list of one process."""

    def __init__(self, config: Config) -> None:
        self._given = frozenset((config.api_hosts or "").lower().replace(" ", "").split(",")) - {""}
        self._own = config.api_host.lower()
        self.judge = lru_cache(256)(self._judge)
        self.same_origin = lru_cache(256)(self._same_origin)

    def _judge(self, given: bytes) -> tuple[str | None, bool]:
        """The host in a Host header, in lower case, and whether it names this API. None: it is no
        name and no address, with an optional port (RFC 9110, 7.2)."""
        host = given.decode("latin-1").lower()
        return (host, self._listed(host)) if API_HOST.fullmatch(host) else (None, False)

    def _listed(self, host: str) -> bool:
        """Whether a Host header names this API."""
        name = _without_port(host)
        return (
            host in self._given
            or name in self._given
            or is_loopback(name)
            or name.strip("[]") == self._address()
        )

    def _same_origin(self, origin: str, host: str) -> bool:
        """Whether an Origin header names the host that the request was sent to, or one that the
        operator listed."""
        scheme, found, authority = origin.lower().partition("://")
        default = _DEFAULT_PORTS.get(scheme)
        if not found or default is None:
            return False
        authority = authority.removesuffix(default)
        return authority == host.removesuffix(default) or authority in self._given

    def _address(self) -> str | None:
        """The address that the API listens on, where it is one address."""
        try:
            return None if ip_address(self._own).is_unspecified else self._own
        except ValueError:
            return self._own


def _without_port(host: str) -> str:
    return host if host.endswith("]") else host.rpartition(":")[0] or host


def is_loopback(name: str) -> bool:
    """Whether a host names the loopback interface."""
    if name == "localhost":
        return True
    try:
        return ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False


__all__ = ["Hosts", "is_loopback"]
