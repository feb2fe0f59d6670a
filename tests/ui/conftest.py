"""Fixtures for the tests of the dashboard."""

from support.api import api
from support.dashboard import filled
from support.failed_tasks import failed, worker
from support.keys import guarded
from support.kill_tests import breakable, kill_tests

__all__ = ["api", "breakable", "failed", "filled", "guarded", "kill_tests", "worker"]
