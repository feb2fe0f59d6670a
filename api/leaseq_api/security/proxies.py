"""The client behind a proxy: `Forwarded` (RFC 7239) and `X-Forwarded-*`.

The headers count only on connections from a configured proxy. From the nearest hop on, the first
address that is no proxy of the configuration is the client: what stands before it was written by
the client. An address that cannot be read ends the search, and the last proxy counts as the client.
Invariant: a header of anyone else changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from litestar.types import Scope
from msgspec import Struct

from leaseq.addresses import API_HOST
from leaseq.config import Config
from leaseq_api.http_server.head import Headers
from leaseq_api.refused import Refused

Address = IPv4Address | IPv6Address

# One element of Forwarded: pairs of a token and a token or quoted string (RFC 7239, 4).
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PAIR = re.compile(rf'\s*({_TOKEN})=({_TOKEN}|"(?:[^"\\]|\\.)*")\s*(;|,|\Z)')
_NODE = re.compile(
    r"\[([0-9A-Fa-f:.]+)\](?::[0-9]{1,5})?|([0-9.]+)(?::[0-9]{1,5})?|([0-9A-Fa-f:.]+)"
)
_NAMES = (b"forwarded", b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host")
_SCHEMES = ("http", "https")


class Hop(Struct, frozen=True):
    """One hop as the proxy behind it describes it."""

    sender: str = ""
    scheme: str = ""
    host: str = ""


class Client(Struct, frozen=True):
    """The client of a request. Scheme and host are None where no proxy named them."""

    address: str
    scheme: str | None
    host: str | None


class Proxies:
    """The proxies of one process."""

    def __init__(self, config: Config) -> None:
        self._networks = [
            ip_network(each.strip()) for each in (config.api_proxies or "").split(",") if each
        ]
        self.trusts = lru_cache(1024)(self._trusts)

    def find_client(self, scope: Scope) -> str | None:
        """Put address and scheme of the client of a request into its scope, and return the host that
        the client has named. None: no proxy named one. Raises `Refused`."""
        peer = scope["client"]
        if not self._networks or peer is None:
            return None
        found = self.judge(peer[0], scope["headers"])  # type: ignore[arg-type]
        if found is None:
            return None
        # The port of the client is not known.
        scope["client"] = (found.address, 0)
        scope["scheme"] = found.scheme or scope["scheme"]
        return found.host

    def judge(self, peer: str, headers: Headers) -> Client | None:
        """The client of a request that `peer` has sent. None: it is `peer` itself. Raises `Refused`
        where the two kinds of headers name different clients."""
        if not self.trusts(peer):
            return None
        found = {
            name: b",".join(value for each, value in headers if each == name).decode("latin-1")
            for name in _NAMES
        }
        standard = self._walk(peer, _read_forwarded(found[b"forwarded"]))
        usual = self._walk(peer, _read_x_forwarded(found))
        if standard and not found[b"x-forwarded-for"]:
            return standard
        if standard and usual and standard.address != usual.address:
            # A proxy that sets one kind passes the other on as its client has written it.
            raise Refused(
                "forwarded_conflict",
                "Forwarded and X-Forwarded-For name different clients: let the proxy remove the header that it does not set",
            )
        return usual

    def _walk(self, peer: str, hops: Sequence[Hop]) -> Client | None:
        """The client, from the nearest hop on. None: there are no headers."""
        if not hops:
            return None
        address, nearest = peer, hops[-1]
        scheme, host = nearest.scheme, nearest.host
        for hop in reversed(hops):
            sender = _read_node(hop.sender)
            if sender is None:
                break
            address, scheme, host = str(sender), hop.scheme, hop.host
            if not self.trusts(address):
                break
        return Client(
            address,
            scheme.lower() if scheme.lower() in _SCHEMES else None,
            host if API_HOST.fullmatch(host) else None,
        )

    def _trusts(self, address: str) -> bool:
        found = _read_node(address)
        return found is not None and any(found in network for network in self._networks)


def _read_node(text: str) -> Address | None:
    """The address of a node, with or without a port. None: it is hidden, unknown or malformed."""
    node = _NODE.fullmatch(text.strip())
    if node is None:
        return None
    try:
        address = ip_address(node[1] or node[2] or node[3])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _read_forwarded(text: str) -> list[Hop]:
    """The hops of Forwarded, the farthest first. Elements after a malformed one are kept, because
    the nearest proxies wrote them."""
    hops: list[Hop] = []
    for element in _elements(text):
        pairs = {name.lower(): value for name, value in element}
        hops.append(Hop(pairs.get("for", ""), pairs.get("proto", ""), pairs.get("host", "")))
    return hops


def _elements(text: str) -> Iterator[list[tuple[str, str]]]:
    pairs: list[tuple[str, str]] = []
    at = 0
    while at < len(text):
        found = _PAIR.match(text, at)
        if found is None:
            # Go on behind the next comma. The element before it names no address.
            at = text.find(",", at) + 1 or len(text)
            yield []
            pairs = []
            continue
        value = found[2]
        if value.startswith('"'):
            value = re.sub(r"\\(.)", r"\1", value[1:-1])
        pairs.append((found[1], value))
        at = found.end()
        if found[3] != ";":
            yield pairs
            pairs = []
    if pairs:
        yield pairs


def _read_x_forwarded(found: dict[bytes, str]) -> list[Hop]:
    """The hops of X-Forwarded-For, the farthest first. A list of schemes or hosts of another length
    has nothing to do with its hops: then the nearest value counts for all of them."""
    senders = found[b"x-forwarded-for"].split(",")
    schemes, hosts = (
        values if len(values) == len(senders) else [values[-1]] * len(senders)
        for values in (
            found[b"x-forwarded-proto"].split(","),
            found[b"x-forwarded-host"].split(","),
        )
    )
    if not any(map(str.strip, (*senders, *schemes, *hosts))):
        return []
    return [
        Hop(sender.strip(), scheme.strip(), host.strip())
        for sender, scheme, host in zip(senders, schemes, hosts, strict=True)
    ]


__all__ = ["Client", "Proxies"]
