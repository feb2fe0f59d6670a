"""Which fixtures do the tests of the command line share?"""

from fix_cli import leaseq, stage

__all__ = ["leaseq", "stage"]
