"""`python -m leaseq_api`: the service by itself, configured by LEASEQ_* alone."""

from __future__ import annotations

import sys

from leaseq.config import Config
from leaseq.embedded import embedded_servers
from leaseq.errors import LeaseqError
from leaseq.logs import set_up_logs
from leaseq_api.serve import serve


def main() -> int:
    """Serve until told to stop; 1, with one line that says why, where that cannot be done."""
    try:
        with embedded_servers(Config.from_env()) as config:
            set_up_logs(config)
            serve(config)
    except LeaseqError as error:
        print(f"leaseq api: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
