"""Run Postgres and Valkey as embedded servers when no URL is given.

They are real servers in LEASEQ_DATA_DIR, shared by the processes of one machine. The first process
starts them and the last one stops them. They keep their data durably: `fsync` stays on in Postgres,
and the append-only file in Valkey.
"""

from leaseq.embedded.postgres import PostgresServer
from leaseq.embedded.servers import embedded_servers, remove_servers
from leaseq.embedded.valkey import ValkeyServer

__all__ = ["PostgresServer", "ValkeyServer", "embedded_servers", "remove_servers"]
