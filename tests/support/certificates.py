"""Certificates that the machine's OpenSSL makes for a test."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path

from msgspec import Struct


class Files(Struct, frozen=True):
    """A certificate for localhost and its key, both in PEM."""

    certificate: Path
    key: Path

    def replace_by(self, other: Files) -> None:
        """Take over the content of other files, the certificate first."""
        self.certificate.write_bytes(other.certificate.read_bytes())
        self.key.write_bytes(other.key.read_bytes())

    def server(self) -> ssl.SSLContext:
        """A context that serves with it."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        return context

    def trusted(self) -> ssl.SSLContext:
        """The context of a client that trusts this certificate only."""
        context = ssl.create_default_context(cafile=str(self.certificate))
        context.set_alpn_protocols(["h2", "http/1.1"])
        return context


def make_certificate(folder: Path, name: str) -> Files:
    """Make a certificate that signs itself."""
    folder.mkdir(exist_ok=True)
    files = Files(folder / f"{name}.pem", folder / f"{name}.key")
    command = [
        *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
        *("-nodes", "-days", "2", "-subj", f"/CN={name}"),
        *("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
        *("-keyout", str(files.key), "-out", str(files.certificate)),
    ]
    subprocess.run(command, check=True, capture_output=True)
    return files


def lock_key(files: Files, folder: Path) -> Path:
    """The key of a certificate, under a password."""
    locked = folder / "locked.key"
    command = [
        *("openssl", "ec", "-in", str(files.key), "-out", str(locked)),
        *("-aes256", "-passout", "pass:secret"),
    ]
    subprocess.run(command, check=True, capture_output=True)
    return locked


__all__ = ["Files", "lock_key", "make_certificate"]
