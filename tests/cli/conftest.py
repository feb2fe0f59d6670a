"""Fixtures for the tests of the command line."""

from support.cli import leaseq, stage

__all__ = ["leaseq", "stage"]
