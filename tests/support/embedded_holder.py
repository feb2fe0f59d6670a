"""A process that holds embedded servers until its standard input closes.

Called as `embedded_holder.py DATA_DIR [UID GID]`; with the numbers it gives up root first. Prints
the two URLs and the two pids as one line of JSON.
"""

import json
import os
import sys
from pathlib import Path

from leaseq.config import Config
from leaseq.embedded import PostgresServer, ValkeyServer, embedded_servers


def main(data_dir: str, *account: str) -> None:
    if account:
        uid, gid = map(int, account)
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    with embedded_servers(Config(data_dir=Path(data_dir))) as config:
        pids = [
            PostgresServer(config.data_dir / "postgres").pid,
            ValkeyServer(config.data_dir / "valkey").pid,
        ]
        print(
            json.dumps({"urls": [config.postgres_url, config.redis_url], "pids": pids}), flush=True
        )
        sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
