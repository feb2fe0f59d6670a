-- Labels of tasks (docs/labels.md, docs/decisions/0062-labels-in-a-table-of-their-own.md): names and values that a client gives
-- with a submission, to find its tasks by. They have a table of their own, so that tasks without labels cost nothing. The primary key
-- serves `the newest tasks with this label`, since ids are UUIDv7: of one tenant, and of each tenant that uses the label. The index
-- finds the labels of a task. Rows are inserted by the statement of the submission. They are deleted when their task is erased or
-- pruned. Processes of an older version leave them behind then, and prune_tasks.sql finds those rows. Names and values are compared
-- byte by byte.
create table leaseq.labels (
    name text collate "C" not null,
    value text collate "C" not null,
    tenant text collate "C" not null,
    task_id uuid not null,
    primary key (name, value, tenant, task_id)
);
create index labels_of_task on leaseq.labels (task_id);

-- submit, on the handler's connection, of tasks with labels: as the function of this name without labels, which checks the secret.
create function leaseq.handler_submit(
    worker text, given text, retention float8, ids uuid[], tenants text[], queues text[], types text[], payloads text[],
    headers text[], keys text[], fingerprints bytea[], priorities smallint[], attempts integer[], timeouts float8[],
    delays float8[], run_ats timestamptz[], expires_ats timestamptz[], label_tasks uuid[], label_names text[], label_values text[]
)
returns table (id text, state text, created_at timestamptz, run_at timestamptz)
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
begin
    return query
    with created as materialized (
        select * from leaseq.handler_submit(
            worker, given, retention, ids, tenants, queues, types, payloads, headers, keys, fingerprints, priorities, attempts,
            timeouts, delays, run_ats, expires_ats
        )
    ), labelled as (
        insert into leaseq.labels (name, value, tenant, task_id)
        select l.name, l.value, t.tenant, t.id
        from unnest(label_tasks, label_names, label_values) as l (task_id, name, value)
        join unnest(ids, tenants) as t (id, tenant) on t.id = l.task_id
        join created as c on c.id = t.id::text
    )
    select c.id, c.state, c.created_at, c.run_at from created as c;
end
$$;

-- By default every role may call a new function. It gets the rights of the function without labels, and the roles of services may
-- read and write the table, without another `leaseq migrate --grants`, as in 0013.
do $$
declare
    labelled constant regprocedure := (
        select oid from pg_proc where pronamespace = 'leaseq'::regnamespace and proname = 'handler_submit' and pronargs = 20
    );
    granted record;
begin
    execute format('revoke all on function %s from public', labelled);
    for granted in
        select distinct r.rolname, p.proname
        from pg_proc as p
        cross join aclexplode(p.proacl) as a
        join pg_roles as r on r.oid = a.grantee
        where p.pronamespace = 'leaseq'::regnamespace and p.proname in ('end_session', 'handler_submit')
            and a.privilege_type = 'EXECUTE' and r.oid <> p.proowner
    loop
        if granted.proname = 'end_session' then
            execute format('grant select, insert, update, delete on leaseq.labels to %I', granted.rolname);
        else
            execute format('grant execute on function %s to %I', labelled, granted.rolname);
        end if;
    end loop;
end
$$;
