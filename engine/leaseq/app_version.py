"""The version of the application that workers run, as its operator names it."""

from __future__ import annotations

from leaseq.errors import ConfigInvalid

LENGTH = 64


def check_app_version(version: str | None) -> None:
    """Raise `ConfigInvalid` for a text that cannot be shown in a list."""
    if version is not None and not (0 < len(version) <= LENGTH and version.isprintable()):
        rule = f"use 1 to {LENGTH} printable characters"
        raise ConfigInvalid(f"LEASEQ_APP_VERSION={version!a} is not a version: {rule}")


__all__ = ["check_app_version"]
