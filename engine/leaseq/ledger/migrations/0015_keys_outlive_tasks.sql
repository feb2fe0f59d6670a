-- An idempotency key stands for its task at least until that task has ended, however long the task waits. And a key remembers how its
-- task ended, also where the task was not pruned but deleted by hand: then a repeated submission was answered with SUCCESS.

create or replace function leaseq.handler_find_keys(worker text, given text, tenants text[], keys text[])
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
        k.tenant, k.key, k.fingerprint, k.task_id::text, coalesce(t.state, k.final_state, 'CANCELLED'),
        coalesce(t.created_at, k.created_at), coalesce(t.run_at, k.created_at), k.queue, coalesce(t.priority, 0::smallint),
        current_setting('synchronous_standby_names') <> ''
    from unnest(tenants, keys) as wanted (tenant, key)
    join leaseq.idempotency_keys as k on k.tenant = wanted.tenant and k.key = wanted.key
    left join leaseq.tasks as t on t.id = k.task_id
    where k.expires_at > now() or t.state in ('PENDING', 'SCHEDULED', 'PROCESSING');
end
$$;

create or replace function leaseq.handler_expire_keys(worker text, given text, tenants text[], keys text[]) returns setof text
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform leaseq.check_secret(worker, given);
    return query
    delete from leaseq.idempotency_keys as k
    using unnest(tenants, keys) as wanted (tenant, key)
    where k.tenant = wanted.tenant and k.key = wanted.key and k.expires_at <= now()
        and not exists (
            select from leaseq.tasks as t where t.id = k.task_id and t.state in ('PENDING', 'SCHEDULED', 'PROCESSING')
        )
    returning k.key;
end
$$;

create function leaseq.remember_deleted() returns trigger language plpgsql as $$
begin
    update leaseq.idempotency_keys as k
    set final_state = case when gone.state in ('SUCCESS', 'FAILED', 'CANCELLED') then gone.state else 'CANCELLED' end
    from gone
    where k.tenant = gone.tenant and k.key = gone.idempotency_key and k.task_id = gone.id and k.final_state is null;
    return null;
end
$$;

create trigger remember_deleted after delete on leaseq.tasks
referencing old table as gone for each statement execute function leaseq.remember_deleted();
