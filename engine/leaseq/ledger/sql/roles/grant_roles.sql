-- Make the roles of leaseq, where they do not exist, and give each exactly its rights; safe to
-- repeat. The roles are named by name_roles.sql. A role that exists keeps its password and
-- attributes. Raises insufficient_privilege where this session may not. owner: owns everything in
-- the schema, and may end the sessions of the others. service: reads and writes rows, calls
-- functions. handler: calls the functions for handlers, and nothing else.
do $grant$
declare
    roles constant json := current_setting('leaseq.roles')::json;
    services constant text[] := array(select json_array_elements_text(roles -> 'services'));
    handler constant text := roles ->> 'handler';
    owner constant text := coalesce(roles ->> 'owner', (
        select case when r.rolsuper then 'leaseq_owner' else r.rolname end
        from pg_namespace as n join pg_roles as r on r.oid = n.nspowner where n.nspname = 'leaseq'
    ));
    needed text;
    thing record;
begin
    foreach needed in array services || handler || owner loop
        if not exists (select from pg_roles where rolname = needed) then
            execute format('create role %I %s', needed, case when needed = owner then 'nologin' else 'login' end);
            raise notice 'created role %', needed;
        end if;
    end loop;

    if not exists (select from pg_namespace where nspname = 'leaseq' and nspowner = to_regrole(quote_ident(owner))) then
        execute format('alter schema leaseq owner to %I', owner);
    end if;
    for thing in
        select c.oid::regclass as name, case c.relkind when 'S' then 'sequence' when 'v' then 'view' else 'table' end as kind
        from pg_class as c
        where c.relnamespace = to_regnamespace('leaseq') and c.relkind in ('r', 'p', 'v', 'S')
            and c.relowner <> to_regrole(quote_ident(owner))
            and not exists (select from pg_depend as d where d.objid = c.oid and d.deptype in ('a', 'i') and c.relkind = 'S')
    loop
        execute format('alter %s %s owner to %I', thing.kind, thing.name, owner);
    end loop;
    for thing in
        select p.oid::regprocedure as name, p.proname like 'handler\_%' as for_handlers, p.proowner from pg_proc as p
        where p.pronamespace = to_regnamespace('leaseq')
    loop
        if thing.proowner <> to_regrole(quote_ident(owner)) then
            execute format('alter function %s owner to %I', thing.name, owner);
        end if;
        execute format('revoke all on function %s from public, %I', thing.name, handler);
        foreach needed in array services || case when thing.for_handlers then array[handler] else '{}' end loop
            execute format('grant execute on function %s to %I', thing.name, needed);
        end loop;
    end loop;

    execute format('revoke all on schema leaseq from %I', handler);
    execute format('revoke all on all tables in schema leaseq from %I', handler);
    execute format('revoke all on all sequences in schema leaseq from %I', handler);
    execute format('grant usage on schema leaseq to %I', handler);
    foreach needed in array services loop
        execute format('grant usage on schema leaseq to %I', needed);
        execute format('grant select, insert, update, delete on all tables in schema leaseq to %I', needed);
        execute format('revoke insert, update, delete on leaseq.migrations from %I', needed);
        execute format('grant usage, select on all sequences in schema leaseq to %I', needed);
    end loop;

    foreach needed in array services || handler loop
        if needed <> owner and not pg_has_role(owner, needed, 'usage') then
            execute format('grant %I to %I', needed, owner);
        end if;
    end loop;
end
$grant$
