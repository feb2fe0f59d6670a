"""The reaper sidecar: finishes what others died in the middle of. Any number of them may run at once."""

from leaseq_reaper.sidecar import run, serve

__all__ = ["run", "serve"]
