"""Fixtures for the tests of the HTTP service."""

from support.api import api
from support.keys import guarded
from support.quotas import acme
from support.raw_http import echo

__all__ = ["acme", "api", "echo", "guarded"]
