-- Read the settings of this server, as this session sees them, that a promise rests on. `reset_val`
-- is the default of a session of this role in this database, which applies where it asks for
-- nothing: in a caller's own transaction, say. `standbys`: the connected ones that commits wait
-- for, or all connected ones where Postgres hides from this role which ones these are.
select
    current_setting('fsync') as fsync,
    current_setting('full_page_writes') as full_page_writes,
    current_setting('synchronous_commit') as synchronous_commit,
    (select reset_val from pg_settings where name = 'synchronous_commit') as default_synchronous_commit,
    current_setting('default_transaction_read_only') as read_only,
    pg_is_in_recovery() as in_recovery,
    current_setting('synchronous_standby_names') as synchronous_standby_names,
    (
        select count(*)::integer from pg_stat_replication
        where sync_state in ('sync', 'quorum') or not pg_has_role('pg_read_all_stats', 'usage')
    ) as standbys,
    current_setting('server_version_num')::integer as version
