"""The benchmark: how much, how fast, how soon again, measured on real processes and real servers.

`make bench`, or `python -m bench` from the root of the repository. What each figure means stands in README.md.
"""
