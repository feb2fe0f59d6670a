"""The benchmark: throughput, latency and recovery on real processes and servers.

`make bench`, or `python -m bench` from the root of the repository. README.md explains each figure.
"""
