"""The reaper sidecar: recovers and delivers tasks that other processes left."""

from leaseq_reaper.sidecar import run, serve

__all__ = ["run", "serve"]
