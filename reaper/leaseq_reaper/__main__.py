"""What does `python -m leaseq_reaper` do? It runs one reaper, configured by LEASEQ_*, until SIGTERM or SIGINT."""

from __future__ import annotations

import sys

from leaseq.config import Config
from leaseq.errors import LeaseqError
from leaseq_reaper.sidecar import serve


def main() -> int:
    """Returns the exit code: 0 when told to stop, 1 when this configuration or schema cannot be served."""
    try:
        serve(Config.from_env())
    except LeaseqError as error:
        print(f"leaseq_reaper: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
