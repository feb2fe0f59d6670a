-- Read the rights of the role of this session, without trying them. One row always. `missing`:
-- rights that services need and this role lacks. `unsignalled` and `unseen`: roles of handlers
-- whose sessions a recovery could not end, or not recognize, by the right of the owner of
-- leaseq.end_session and leaseq.session_start. These are the roles of sessions that are open now,
-- and those that may settle on a handler's connection. Missing functions are reported as an old
-- schema, not here.
with tables as (
    select c.oid, c.relname from pg_class as c
    where c.relnamespace = to_regnamespace('leaseq') and c.relkind in ('r', 'p')
), functions as (
    select p.oid, p.proname, p.proowner from pg_proc as p where p.pronamespace = to_regnamespace('leaseq')
), missing as (
    select 'usage on schema leaseq' as what
    where to_regnamespace('leaseq') is not null and not has_schema_privilege('leaseq', 'usage')
    union all
    select format('%s on table leaseq.%s', needed.privilege, t.relname)
    from tables as t
    cross join unnest(array['select', 'insert', 'update', 'delete']) as needed (privilege)
    where not has_table_privilege(t.oid, needed.privilege) and (t.relname <> 'migrations' or needed.privilege = 'select')
    union all
    select format('execute on function leaseq.%s', f.proname) from functions as f where not has_function_privilege(f.oid, 'execute')
), ender as (
    select r.oid, r.rolsuper from functions as f join pg_roles as r on r.oid = f.proowner where f.proname = 'end_session'
), handlers as (
    select r.oid, r.rolname, r.rolsuper
    from pg_stat_activity as a
    join pg_roles as r on r.oid = a.usesysid
    where a.datname = current_database() and a.application_name like 'leaseq tx %'
    union
    select r.oid, r.rolname, r.rolsuper
    from pg_proc as p
    cross join aclexplode(p.proacl) as granted
    join pg_roles as r on r.oid = granted.grantee
    where p.pronamespace = to_regnamespace('leaseq') and p.proname = 'handler_succeed' and not r.rolsuper
)
select
    current_user::text as name,
    coalesce((select rolsuper from pg_roles where rolname = current_user), false) as is_superuser,
    coalesce((select pg_has_role(nspowner, 'usage') from pg_namespace where nspname = 'leaseq'), false) as is_owner,
    array(select what from missing order by what) as missing,
    array(
        select h.rolname::text
        from handlers as h
        cross join ender as e
        where not e.rolsuper
            and (h.rolsuper or not (pg_has_role(e.oid, h.oid, 'usage') or pg_has_role(e.oid, 'pg_signal_backend', 'usage')))
        order by 1
    ) as unsignalled,
    array(
        select h.rolname::text
        from handlers as h
        cross join ender as e
        where not (
            pg_has_role(e.oid, h.oid, 'usage') or pg_has_role(e.oid, 'pg_read_all_stats', 'usage')
            or pg_has_role(h.oid, 'usage') or pg_has_role('pg_read_all_stats', 'usage')
        )
        order by 1
    ) as unseen,
    format('%s of %s', (select oid from pg_database where datname = current_database()), pg_postmaster_start_time()) as database
