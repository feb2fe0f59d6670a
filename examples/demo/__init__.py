"""The demo: 2,000 real tasks, two kills, and every guarantee checked in Postgres.

`make demo`, or `python -m examples.demo`. It starts everything it needs in a temporary directory
and leaves nothing behind.
"""
