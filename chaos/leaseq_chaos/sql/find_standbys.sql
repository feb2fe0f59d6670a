-- List the standbys of this server: whether a commit waits for it, and the position (bytes since
-- 0/0) up to which it has flushed the log.
select sync_state in ('sync', 'quorum'), (flush_lsn - '0/0')::int8 from pg_stat_replication where state = 'streaming'
