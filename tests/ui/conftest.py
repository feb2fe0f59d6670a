"""Fixtures for the tests of the dashboard."""

from support.api import api
from support.dashboard import filled
from support.failed_tasks import failed, worker
from support.keys import guarded

__all__ = ["api", "failed", "filled", "guarded", "worker"]
