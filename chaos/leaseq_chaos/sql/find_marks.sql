-- What of `meddle` and its like is left in this session, by name.
select array_remove(array[
    case when current_setting('search_path') like 'meddled%%' then 'search_path' end,
    case when current_setting('statement_timeout') = '777s' then 'statement_timeout' end,
    case when current_setting('synchronous_commit') = 'off' then 'synchronous_commit' end,
    case when current_setting('default_transaction_isolation') = 'serializable' then 'isolation' end,
    case when current_setting('application_name') = 'meddled' then 'application_name' end,
    case when coalesce(current_setting('chaos.mark', true), '') <> '' then 'setting of its own' end,
    case when exists (select from pg_locks where pid = pg_backend_pid() and locktype = 'advisory') then 'advisory lock' end,
    case when to_regclass('pg_temp.meddled') is not null then 'temporary table' end,
    case when exists (select pg_listening_channels()) then 'subscription' end
], null)
