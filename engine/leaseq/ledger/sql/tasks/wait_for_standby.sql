-- No transition. Returns when all that this session has read is where a commit of ours would be:
-- the commit record that this statement writes lies behind everything that was visible before. Read
-- first, then wait: not the other way round. Zero rows: this server waits for no standby
-- (synchronous_standby_names is empty), and nothing was written.
select pg_logical_emit_message(true, 'leaseq', '')::text
where current_setting('synchronous_standby_names') <> ''
