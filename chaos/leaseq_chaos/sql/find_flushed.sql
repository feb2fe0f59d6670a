-- Up to which position (bytes since 0/0) has this server written its own log to disk?
select (pg_current_wal_flush_lsn() - '0/0')::int8
