-- The standbys of this server: does a commit wait for it, and up to which position (bytes since
-- 0/0) has it flushed the log?
select sync_state in ('sync', 'quorum'), (flush_lsn - '0/0')::int8 from pg_stat_replication where state = 'streaming'
