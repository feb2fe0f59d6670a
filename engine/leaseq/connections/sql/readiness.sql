-- Read whether this server takes writes. For a Postgres that does not tell who it is (identity.sql).
select
    pg_is_in_recovery() as in_recovery,
    current_setting('transaction_read_only') = 'on' as read_only,
    null::text as system,
    null::integer as timeline,
    extract(epoch from clock_timestamp())::float8 as clock,
    pg_backend_pid() as pid,
    (select extract(epoch from backend_start)::text from pg_stat_get_activity(pg_backend_pid())) as began
