"""The address that the API listens on, and whether it asks for API keys.

On the loopback it runs open, unless a proxy in front of it lets other machines in. On an address
that other machines can reach it asks for keys, unless the operator turned that off.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address

from leaseq.config import Config
from leaseq.errors import ConfigInvalid
from leaseq.observability.telemetry import emit


def keys_required(config: Config) -> bool:
    """Whether requests need an API key."""
    if config.api_auth == "auto":
        return config.api_proxies is not None or not _is_loopback(config.api_host)
    return config.api_auth == "keys"


def auth_of(config: Config) -> str:
    """How the API knows its clients, in one word: `keys`; `open`, where only this machine reaches
    it; `off`, where others do."""
    if keys_required(config):
        return "keys"
    return "open" if config.api_proxies is None and _is_loopback(config.api_host) else "off"


def warn_if_unprotected(config: Config) -> None:
    """Warn about an API that asks for no keys where other machines reach it."""
    if auth_of(config) == "off":
        emit("api.unprotected", host=config.api_host, port=config.api_port)


def no_key_exists(config: Config) -> ConfigInvalid:
    """The error of an API that asks for keys, where none can be used."""
    return ConfigInvalid(
        f"this API asks for API keys (LEASEQ_API_HOST={config.api_host}, LEASEQ_API_AUTH={config.api_auth}), and there is "
        "none that is valid: create one with `leaseq keys create NAME --scopes ...`, or serve without with --insecure"
    )


def check_address(config: Config) -> int:
    """The port to listen on: the one of the configuration, or a free one if that is 0.

    Raises `ConfigInvalid` for an address that cannot be used, such as a port in use.
    """
    with socket.socket(_family(config)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _bind(probe, config)
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def hold_port(config: Config) -> Iterator[None]:
    """Keep the port for processes that share it, even while none of them listens. A socket that
    does not listen gets no connections."""
    with socket.socket(_family(config)) as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        _bind(held, config)
        yield


def cannot_listen(config: Config, error: OSError) -> ConfigInvalid:
    """The error of an address that cannot be used."""
    where = f"LEASEQ_API_HOST={config.api_host}, LEASEQ_API_PORT={config.api_port}"
    return ConfigInvalid(
        f"cannot listen on {where}: {error.strerror}; choose another port or address"
    )


def _bind(bound: socket.socket, config: Config) -> None:
    try:
        bound.bind((config.api_host, config.api_port))
    except OSError as error:
        raise cannot_listen(config, error) from None


def _family(config: Config) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in config.api_host else socket.AF_INET


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


__all__ = [
    "auth_of",
    "cannot_listen",
    "check_address",
    "hold_port",
    "keys_required",
    "no_key_exists",
    "warn_if_unprotected",
]
