"""Where do Postgres and Valkey come from when nobody gave us any?

From real servers kept in LEASEQ_DATA_DIR, shared by the processes of one machine, started by the first and stopped
by the last. They keep their data, and they are no toys: `fsync` stays on in the one, the append-only file in the other.
"""

from leaseq.embedded.postgres import PostgresServer
from leaseq.embedded.servers import embedded_servers, remove_servers
from leaseq.embedded.valkey import ValkeyServer

__all__ = ["PostgresServer", "ValkeyServer", "embedded_servers", "remove_servers"]
