"""`python -m leaseq`: the command line, where the script is not on the path."""

from leaseq.cli import main

main(prog_name="leaseq")
