"""Fixtures for the tests of the command line."""

from support.cli import leaseq, stage
from support.dev_command import starter

__all__ = ["leaseq", "stage", "starter"]
