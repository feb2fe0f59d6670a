"""The certificate of the API, which is read again when its files change.

Invariants: a certificate is used for new connections only after it and its key were read and fit
each other. If they do not, the one before stays in use. Open connections keep theirs.
"""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

from leaseq.config import Config
from leaseq.errors import ConfigInvalid
from leaseq.observability.telemetry import emit

# Programs that renew certificates write the two files one after the other.
LOOK_EVERY_SECONDS = 1.0

Marks = tuple[tuple[int, int, int], ...]


class Certificate:
    """The files of certificate and key, and the context that new connections use."""

    def __init__(self, certificate: str, key: str) -> None:
        """Read both files. Raises `ConfigInvalid`, in one line, if they cannot be used."""
        self._paths = (Path(certificate), Path(key))
        self.context = _new_context()
        self._marks = self._look()
        _load(self.context, *self._paths)

    def renew(self, *, forced: bool = False) -> None:
        """Use the files if they have changed since they were last read. `forced`: in any case."""
        marks = self._look()
        if marks == self._marks and not forced:
            return
        self._marks = marks
        try:
            # On its own first: loading replaces the certificate before it finds a wrong key.
            _load(_new_context(), *self._paths)
            _load(self.context, *self._paths)
        except ConfigInvalid as error:
            emit("certificate.refused", error=str(error))
        else:
            emit("certificate.loaded")

    async def keep_fresh(self) -> None:
        """Look at the files once a second, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY_SECONDS)
            self.renew()

    def _look(self) -> Marks:
        """Marks that change with the content of the files. Empty: one is missing."""
        try:
            found = [path.stat() for path in self._paths]
        except OSError:
            return ()
        return tuple((each.st_ino, each.st_size, each.st_mtime_ns) for each in found)


def open_certificate(config: Config) -> Certificate | None:
    """The certificate of the configuration. None: the API serves without TLS. Raises
    `ConfigInvalid`."""
    if config.api_tls_cert is None or config.api_tls_key is None:
        return None
    return Certificate(config.api_tls_cert, config.api_tls_key)


def _new_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    return context


def _load(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    """Load both files. Raises `ConfigInvalid`."""
    for variable, path in (("LEASEQ_API_TLS_CERT", certificate), ("LEASEQ_API_TLS_KEY", key)):
        try:
            path.read_bytes()
        except OSError as error:
            raise ConfigInvalid(
                f"{variable}={path} cannot be read: {error.strerror}; name a PEM file that this user may read"
            ) from None
    try:
        # Without a password OpenSSL would ask the terminal for one.
        context.load_cert_chain(certificate, key, password="")
    except ssl.SSLError as error:
        raise ConfigInvalid(_explain(error, certificate, key)) from None


def _explain(error: ssl.SSLError, certificate: Path, key: Path) -> str:
    files = f"LEASEQ_API_TLS_CERT={certificate} and LEASEQ_API_TLS_KEY={key}"
    if error.reason == "KEY_VALUES_MISMATCH":
        return f"{files} do not belong together: name the key of this certificate"
    return (
        f"{files} cannot be used ({(error.reason or 'not PEM').replace('_', ' ').lower()}): "
        "name a certificate chain and a key without a password, both in PEM"
    )


__all__ = ["Certificate", "open_certificate"]
