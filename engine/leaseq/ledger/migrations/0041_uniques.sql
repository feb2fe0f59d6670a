-- Unique tasks, debounce and throttle (docs/unique.md, docs/decisions/0070-a-key-names-its-last-task.md). A row of `uniques` names the
-- task that had a key last. Whether that task is in the way of the next one is asked of the task, so no ending has to free anything, and
-- claim and settle do not know this table. `version` grows with each new holder, and a submission takes a key only from the holder that it
-- has judged. `until` is the end of a period, and `final_state` the state of a holder that was pruned before.
-- `tasks.unique_key` and `tasks.unique_hold` say which key a task had, for a redrive. No index and no CHECK names them.
create table leaseq.uniques (
    tenant text collate "C" not null,
    type text collate "C" not null,
    hold text collate "C" not null,
    key text collate "C" not null,
    task_id uuid not null,
    version bigint not null default 0,
    until timestamptz,
    first_at timestamptz not null default clock_timestamp(),
    final_state text,
    primary key (tenant, type, hold, key)
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 5000);
create index uniques_until on leaseq.uniques (until) where final_state is not null;
alter table leaseq.tasks add column unique_key text, add column unique_hold text;
alter table leaseq.type_versions add column unique_rule text, add column unique_key text;

-- The holders of keys, on the handler's connection: find_uniques.sql.
create function leaseq.handler_find_uniques(worker text, given text, tenants text[], types text[], holds text[], keys text[])
returns table (
    tenant text, type text, hold text, key text, task_id text, version bigint, state text, created_at timestamptz, run_at timestamptz,
    queue text, priority smallint, in_period boolean, is_due boolean, is_held_back boolean, on_standbys boolean
)
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
begin
    perform leaseq.check_secret(worker, given);
    return query
    select
        u.tenant, u.type, u.hold, u.key, u.task_id::text, u.version, coalesce(t.state, u.final_state), coalesce(t.created_at, u.first_at),
        coalesce(t.run_at, u.first_at), coalesce(t.queue, ''), coalesce(t.priority, 0::smallint),
        coalesce(u.until > clock_timestamp(), false), coalesce(t.run_at <= clock_timestamp(), false),
        t.state = 'SCHEDULED' and t.attempt = 0 and exists (select from leaseq.scheduled as s where s.task_id = t.id),
        current_setting('synchronous_standby_names') <> ''
    from unnest(tenants, types, holds, keys) as w (tenant, type, hold, key)
    join leaseq.uniques as u on u.tenant = w.tenant and u.type = w.type and u.hold = w.hold and u.key = w.key
    left join leaseq.tasks as t on t.id = u.task_id;
end
$$;

-- submit, on the handler's connection, of one task with a unique key: submit_unique.sql. Zero rows: another task has the key now.
create function leaseq.handler_submit_unique(
    worker text, given text, retention float8, ids uuid[], tenants text[], queues text[], types text[], payloads text[],
    headers text[], keys text[], fingerprints bytea[], priorities smallint[], attempts integer[], timeouts float8[],
    delays float8[], run_ats timestamptz[], expires_ats timestamptz[], label_tasks uuid[], label_names text[], label_values text[],
    bound_tasks uuid[], limit_names text[], concurrency_keys text[],
    unique_keys text[], unique_holds text[], holders uuid[], versions bigint[], periods float8[], replaces boolean[]
)
returns table (id text, state text, created_at timestamptz, run_at timestamptz)
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    is_mine boolean;
    ends constant timestamptz := clock_timestamp() + make_interval(secs => periods[1]);
begin
    perform leaseq.check_secret(worker, given);
    if cardinality(ids) <> 1 then
        raise feature_not_supported using message = 'a handler submits one task with a unique key at a time';
    end if;
    if versions[1] is null then
        insert into leaseq.uniques (tenant, type, hold, key, task_id, until)
        values (tenants[1], types[1], unique_holds[1], unique_keys[1], ids[1], ends)
        on conflict do nothing;
    else
        perform from leaseq.uniques as u
        where u.tenant = tenants[1] and u.type = types[1] and u.hold = unique_holds[1] and u.key = unique_keys[1]
            and u.task_id = holders[1] and u.version = versions[1]
        for no key update;
        is_mine := found;
        if is_mine and replaces[1] then
            update leaseq.tasks as t
            set state = 'CANCELLED', finished_at = clock_timestamp(),
                cancel_requested_at = coalesce(t.cancel_requested_at, clock_timestamp()),
                error = json_build_object('code', 'cancelled', 'message', 'replaced by task ' || ids[1])
            where t.id = holders[1] and t.state in ('PENDING', 'SCHEDULED');
            is_mine := found;
            delete from leaseq.scheduled as s
            where is_mine and s.task_id = (select f.task_id from leaseq.scheduled as f where f.task_id = holders[1] for update skip locked);
            delete from leaseq.limited as l where is_mine and l.task_id = holders[1];
        end if;
        update leaseq.uniques as u
        set task_id = ids[1], version = u.version + 1, until = ends, first_at = clock_timestamp(), final_state = null
        where is_mine and u.tenant = tenants[1] and u.type = types[1] and u.hold = unique_holds[1] and u.key = unique_keys[1]
            and u.task_id = holders[1] and u.version = versions[1];
    end if;
    if not found then
        return;
    end if;
    return query
    select * from leaseq.handler_submit_bound(
        worker, given, retention, ids, tenants, queues, types, payloads, headers, keys, fingerprints, priorities, attempts, timeouts,
        delays, run_ats, expires_ats, label_tasks, label_names, label_values, bound_tasks, limit_names, concurrency_keys
    );
    update leaseq.tasks as t
    set unique_key = unique_keys[1], unique_hold = unique_holds[1]
    where t.id = ids[1] and t.unique_key is null;
end
$$;

-- debounce, on the handler's connection: debounce_task.sql.
create function leaseq.handler_debounce_task(
    worker text, given text, in_tenant text, of_type text, of_key text, content text, context text, delay float8, longest float8
)
returns table (task_id text, created_at timestamptz, run_at timestamptz, queue text, priority smallint)
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
begin
    perform leaseq.check_secret(worker, given);
    return query
    with held as materialized (
        select s.task_id, u.first_at
        from leaseq.uniques as u
        join leaseq.scheduled as s on s.task_id = u.task_id
        where u.tenant = in_tenant and u.type = of_type and u.hold = 'debounce' and u.key = of_key
        for update of s
    ), moved as (
        update leaseq.tasks as t
        set payload = content::json, headers = context::json,
            run_at = least(clock_timestamp() + make_interval(secs => delay), held.first_at + make_interval(secs => longest))
        from held
        where t.id = held.task_id and t.state = 'SCHEDULED' and t.attempt = 0
        returning t.id, t.created_at, t.run_at, t.queue, t.priority
    ), placed as (
        update leaseq.scheduled as s set run_at = m.run_at from moved as m where s.task_id = m.id
    )
    select m.id::text, m.created_at, m.run_at, m.queue, m.priority from moved as m;
end
$$;

-- An idempotency key for a task that exists, on the handler's connection: adopt_keys.sql.
create function leaseq.handler_adopt_keys(
    worker text, given text, retention float8, tenants text[], keys text[], fingerprints bytea[], tasks uuid[]
)
returns setof text
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform leaseq.check_secret(worker, given);
    return query
    insert into leaseq.idempotency_keys as k (tenant, key, fingerprint, task_id, queue, expires_at)
    select s.tenant, s.key, s.fingerprint, t.id, t.queue, now() + make_interval(secs => retention)
    from unnest(tenants, keys, fingerprints, tasks) as s (tenant, key, fingerprint, task_id)
    join leaseq.tasks as t on t.id = s.task_id
    order by s.tenant, s.key
    on conflict do nothing
    returning k.key;
end
$$;

-- By default every role may call a new function. They get the rights of the functions for plain tasks, and the roles of services may read
-- and write the table, without another `leaseq migrate --grants`, as in 0029.
do $$
declare
    granted record;
    made regprocedure;
begin
    for made in
        select oid from pg_proc
        where pronamespace = 'leaseq'::regnamespace
            and proname in ('handler_find_uniques', 'handler_submit_unique', 'handler_debounce_task', 'handler_adopt_keys')
    loop
        execute format('revoke all on function %s from public', made);
        for granted in
            select distinct r.rolname
            from pg_proc as p
            cross join aclexplode(p.proacl) as a
            join pg_roles as r on r.oid = a.grantee
            where p.pronamespace = 'leaseq'::regnamespace and p.proname = 'handler_submit'
                and a.privilege_type = 'EXECUTE' and r.oid <> p.proowner
        loop
            execute format('grant execute on function %s to %I', made, granted.rolname);
        end loop;
    end loop;
    for granted in
        select distinct r.rolname
        from pg_proc as p
        cross join aclexplode(p.proacl) as a
        join pg_roles as r on r.oid = a.grantee
        where p.oid = 'leaseq.end_session(integer)'::regprocedure and a.privilege_type = 'EXECUTE' and r.oid <> p.proowner
    loop
        execute format('grant select, insert, update, delete on leaseq.uniques to %I', granted.rolname);
    end loop;
end
$$;
