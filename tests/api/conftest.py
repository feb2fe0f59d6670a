"""Fixtures for the tests of the HTTP service."""

from support.api import api
from support.raw_http import echo

__all__ = ["api", "echo"]
