"""The command line of leaseq, with a module for each command or group."""

from leaseq.cli.program import COMMANDS, EXIT_CODES, main

__all__ = ["COMMANDS", "EXIT_CODES", "main"]
