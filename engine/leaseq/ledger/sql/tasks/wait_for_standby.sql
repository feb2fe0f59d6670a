-- No transition. Returns when standbys have everything that this session has read, as after a
-- commit of ours: the commit record that this statement writes lies behind everything that was
-- visible before. Read first and then wait, not the other way round. Zero rows: this server waits
-- for no standby (synchronous_standby_names is empty), and nothing was written.
select pg_logical_emit_message(true, 'leaseq', '')::text
where current_setting('synchronous_standby_names') <> ''
