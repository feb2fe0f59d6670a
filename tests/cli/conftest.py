"""Which fixtures do the tests of the command line share?"""

from support.cli import leaseq, stage

__all__ = ["leaseq", "stage"]
