"""Fixtures for the tests of the HTTP client."""

from support.api import api
from support.http_clients import address, kind, leaseq

__all__ = ["address", "api", "kind", "leaseq"]
