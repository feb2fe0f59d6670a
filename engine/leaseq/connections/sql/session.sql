-- session: what every connection to Postgres promises before it is used. Parameters: text,
-- milliseconds for times; `for_handlers` (boolean) says that the connection is for handlers. Every setting
-- that a statement of ours depends on is set here, because hosters and administrators give roles
-- and databases other defaults (docs/operations.md, "Roles and hosted Postgres").
-- synchronous_commit: an acknowledged task survives a crash (G1), regardless of the server's or the
-- role's default. default_transaction_isolation: our statements wait for a locked row and then see
-- what its winner left. Under a stricter level they fail instead, and a settle fails permanently on
-- the row whose progress the same attempt has written from another connection. statement_timeout,
-- lock_timeout: no statement waits without limit behind a frozen session (docs/pitfalls.md#p25).
-- idle_*_timeout, transaction_timeout (PostgreSQL 17): a handler may think for as long as its
-- attempt may run, and a pool may rest. search_path: our own statements find nothing but Postgres'
-- own functions. A handler keeps its default without schema leaseq: for a role of that name "$user"
-- is our schema, and a handler's `create table tasks` would be there. Functions are named with
-- their schema, since a role's default may put others first; a role may change its own defaults.
-- array_nulls, datestyle, client_min_messages: how values are read, and that warnings arrive.
-- tcp_keepalives_*: the server gives up on a lost host, and with it the host's row locks, within
-- about 11 s.
select
    pg_catalog.set_config('synchronous_commit', 'on', false),
    pg_catalog.set_config('default_transaction_isolation', 'read committed', false),
    pg_catalog.set_config('timezone', 'UTC', false),
    pg_catalog.set_config('statement_timeout', %(statement_timeout)s, false),
    pg_catalog.set_config('lock_timeout', %(lock_timeout)s, false),
    pg_catalog.set_config('idle_in_transaction_session_timeout', '0', false),
    pg_catalog.set_config('idle_session_timeout', '0', false),
    case
        when pg_catalog.current_setting('transaction_timeout', true) is not null
        then pg_catalog.set_config('transaction_timeout', '0', false)
    end,
    case
        when not %(for_handlers)s then pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', false)
        when 'leaseq' = any(pg_catalog.current_schemas(false)) then pg_catalog.set_config('search_path', coalesce((
            select pg_catalog.string_agg(pg_catalog.quote_ident(path.name), ', ' order by path.place)
            from pg_catalog.unnest(pg_catalog.current_schemas(false)) with ordinality as path (name, place)
            where path.name <> 'leaseq'
        ), 'public'), false)
    end,
    pg_catalog.set_config('array_nulls', 'on', false),
    pg_catalog.set_config('datestyle', 'ISO', false),
    pg_catalog.set_config('client_min_messages', 'notice', false),
    pg_catalog.set_config('tcp_keepalives_idle', '5', false),
    pg_catalog.set_config('tcp_keepalives_interval', '2', false),
    pg_catalog.set_config('tcp_keepalives_count', '3', false)
