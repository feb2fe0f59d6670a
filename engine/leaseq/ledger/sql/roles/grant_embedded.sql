-- In the embedded Postgres, whose database is the developer's own: handlers may make tables in
-- schema public, and own those that were made as its superuser before there were roles. The role is
-- named by name_roles.sql. Safe to repeat.
do $grant$
declare
    handler constant text := current_setting('leaseq.roles')::json ->> 'handler';
    thing record;
begin
    execute format('grant usage, create on schema public to %I', handler);
    for thing in
        select c.oid::regclass as name, case c.relkind when 'S' then 'sequence' when 'v' then 'view' else 'table' end as kind
        from pg_class as c
        join pg_namespace as n on n.oid = c.relnamespace
        join pg_roles as r on r.oid = c.relowner
        where n.nspname = 'public' and c.relkind in ('r', 'p', 'v', 'S') and r.rolsuper
            and not exists (select from pg_depend as d where d.objid = c.oid and d.deptype in ('a', 'e', 'i'))
    loop
        execute format('alter %s %s owner to %I', thing.kind, thing.name, handler);
    end loop;
end
$grant$
