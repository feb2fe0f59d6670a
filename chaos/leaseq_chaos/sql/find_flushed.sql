-- Read the position (bytes since 0/0) up to which this server has written its own log to disk.
select (pg_current_wal_flush_lsn() - '0/0')::int8
