-- What a handler's own connection may do in this schema, as functions, so that the role of handlers needs no right on any table
-- (docs/decisions/0014-three-roles.md). Each runs with the rights of the schema's owner, finds names in pg_catalog only, and asks
-- for the worker and its secret. The worker keeps the secret in its memory and sends it as a parameter, which no view of Postgres
-- shows: SQL that was injected into a handler can call these functions and gets nothing from them.
-- `leaseq migrate --grants` says which roles may call them. By default every role may call a new function, hence the last statement.
alter table leaseq.workers add column secret text;

create function leaseq.check_secret(worker text, given text) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    if not exists (select from leaseq.workers as w where w.id = worker and w.secret = given) then
        raise insufficient_privilege using message = 'this is not the secret of that worker';
    end if;
end
$$;

-- settle: PROCESSING -> SUCCESS, on the handler's connection. The same as settle_attempts.sql does for this one ending.
create function leaseq.handler_succeed(worker text, given text, task uuid, number integer, outcome text)
returns table (id text, attempt integer, state text, queue text, priority smallint, crash_count integer, loss_count integer)
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
begin
    perform leaseq.check_secret(worker, given);
    return query
    update leaseq.tasks as t
    set state = 'SUCCESS', finished_at = clock_timestamp(), worker_id = null, result = outcome::json, error = null
    where t.id = task and t.state = 'PROCESSING' and t.attempt = number and t.worker_id = worker
    returning t.id::text, t.attempt, t.state, t.queue, t.priority, t.crash_count, t.loss_count;
end
$$;

-- submit, on the handler's connection. The same as submit_tasks.sql does inside a caller's own transaction.
create function leaseq.handler_submit(
    worker text, given text, retention float8, ids uuid[], tenants text[], queues text[], types text[], payloads text[],
    headers text[], keys text[], fingerprints bytea[], priorities smallint[], attempts integer[], timeouts float8[],
    delays float8[], run_ats timestamptz[], expires_ats timestamptz[]
)
returns table (id text, state text, created_at timestamptz, run_at timestamptz)
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
begin
    perform leaseq.check_secret(worker, given);
    return query
    with sent as (
        select *
        from unnest(
            ids, tenants, queues, types, payloads, headers, keys, fingerprints, priorities, attempts, timeouts, delays, run_ats,
            expires_ats
        ) as s (
            id, tenant, queue, type, payload, headers, key, fingerprint, priority, max_attempts, timeout_seconds, delay, run_at,
            expires_at
        )
    ), keyed as (
        insert into leaseq.idempotency_keys as k (tenant, key, fingerprint, task_id, queue, expires_at)
        select tenant, key, fingerprint, id, queue, now() + make_interval(secs => retention)
        from sent
        where key is not null
        order by tenant, key
        on conflict do nothing
        returning k.task_id
    ), created as (
        insert into leaseq.tasks (
            id, tenant, queue, type, payload, headers, idempotency_key, state, priority, max_attempts, timeout_seconds, run_at,
            expires_at
        )
        select
            id, tenant, queue, type, payload::json, headers::json, key, 'SCHEDULED', priority, max_attempts, timeout_seconds,
            coalesce(run_at, now() + make_interval(secs => delay), now()), expires_at
        from sent
        where key is null or id in (select task_id from keyed)
        on conflict do nothing
        returning id, state, created_at, run_at, queue, priority
    ), waiting as (
        insert into leaseq.scheduled (task_id, run_at, queue, priority)
        select id, run_at, queue, priority from created
        on conflict do nothing
    )
    select c.id::text, c.state, c.created_at, c.run_at from created as c;
end
$$;

-- What idempotency keys stand for: find_keys.sql.
create function leaseq.handler_find_keys(worker text, given text, tenants text[], keys text[])
returns table (
    tenant text, key text, fingerprint bytea, task_id text, state text, created_at timestamptz, run_at timestamptz, queue text,
    priority smallint, on_standbys boolean
)
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
begin
    perform leaseq.check_secret(worker, given);
    return query
    select
        k.tenant, k.key, k.fingerprint, k.task_id::text, coalesce(t.state, k.final_state, 'SUCCESS'),
        coalesce(t.created_at, k.created_at), coalesce(t.run_at, k.created_at), k.queue, coalesce(t.priority, 0::smallint),
        current_setting('synchronous_standby_names') <> ''
    from unnest(tenants, keys) as wanted (tenant, key)
    join leaseq.idempotency_keys as k on k.tenant = wanted.tenant and k.key = wanted.key
    left join leaseq.tasks as t on t.id = k.task_id
    where k.expires_at > now();
end
$$;

-- Free idempotency keys whose retention is over: expire_keys.sql.
create function leaseq.handler_expire_keys(worker text, given text, tenants text[], keys text[]) returns setof text
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform leaseq.check_secret(worker, given);
    return query
    delete from leaseq.idempotency_keys as k
    using unnest(tenants, keys) as wanted (tenant, key)
    where k.tenant = wanted.tenant and k.key = wanted.key and k.expires_at <= now()
    returning k.key;
end
$$;

-- End sessions by the right of the schema's owner, who is a member of the roles of services and handlers: a reaper may then be
-- another role than the worker. `ended` is null for a session of a role that the owner may not signal. Ends nothing but what the
-- condition of end_sessions.sql names: sessions of an incarnation that is closed.
create function leaseq.end_session(session integer) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    if not exists (
        select from pg_stat_activity as a
        join pg_roles as r on r.oid = a.usesysid
        where a.pid = session and a.datname = current_database() and a.pid <> pg_backend_pid()
            and a.backend_type = 'client backend'
            and (
                (select s.rolsuper from pg_roles as s where s.rolname = current_user)
                or not r.rolsuper and (pg_has_role(r.oid, 'usage') or pg_has_role('pg_signal_backend', 'usage'))
            )
    ) then
        return null;
    end if;
    return pg_terminate_backend(session);
exception when insufficient_privilege then
    return null;
end
$$;

revoke execute on all functions in schema leaseq from public;
