-- Read which server this is, and whether it takes writes. System identifier and timeline say which
-- of two servers was promoted later (PostgreSQL manual, 26.3); in recovery a server has no timeline
-- of its own yet. `clock` is its Unix time, which ids follow (codec.py). Pid and beginning name the
-- session, so that another one can end it (end_session.sql). A Postgres without these functions, or
-- a role that may not call them, is asked by `readiness.sql` instead.
select
    pg_is_in_recovery() as in_recovery,
    current_setting('transaction_read_only') = 'on' as read_only,
    (select system_identifier::text from pg_control_system()) as system,
    case
        when not pg_is_in_recovery() then ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::integer
    end as timeline,
    extract(epoch from clock_timestamp())::float8 as clock,
    pg_backend_pid() as pid,
    (select extract(epoch from backend_start)::text from pg_stat_get_activity(pg_backend_pid())) as began
