-- Read the rights of the role of handlers, without trying them. One row always. `missing`: rights
-- that the worker needs on a handler's connection. `excess`: rights that no handler needs and
-- injected SQL would have.
with excess as (
    select format('%s on table leaseq.%s', held.privilege, c.relname) as what
    from pg_class as c
    cross join unnest(array['select', 'insert', 'update', 'delete', 'truncate', 'references', 'trigger']) as held (privilege)
    where c.relnamespace = to_regnamespace('leaseq') and c.relkind in ('r', 'p', 'v') and has_table_privilege(c.oid, held.privilege)
    union all
    select format('create on schema leaseq')
    where to_regnamespace('leaseq') is not null and has_schema_privilege('leaseq', 'create')
    union all
    select format('execute on function leaseq.%s', p.proname)
    from pg_proc as p
    where p.pronamespace = to_regnamespace('leaseq') and p.proname not like 'handler\_%' and has_function_privilege(p.oid, 'execute')
    union all
    select format('membership in %s', r.rolname) from pg_roles as r
    where pg_has_role(r.oid, 'member') and r.rolname in (
        'pg_execute_server_program', 'pg_read_all_data', 'pg_read_all_stats', 'pg_read_server_files', 'pg_signal_backend',
        'pg_write_all_data', 'pg_write_server_files'
    )
)
select
    current_user::text as name,
    coalesce((select rolsuper from pg_roles where rolname = current_user), false) as is_superuser,
    (
        select coalesce(array_agg(format('execute on function leaseq.%s', p.proname)::text order by p.proname), '{}')
        from pg_proc as p
        where p.pronamespace = to_regnamespace('leaseq') and p.proname like 'handler\_%'
            and not (has_schema_privilege('leaseq', 'usage') and has_function_privilege(p.oid, 'execute'))
    ) as missing,
    array(select what from excess order by what) as excess,
    format('%s of %s', (select oid from pg_database where datname = current_database()), pg_postmaster_start_time()) as database
