-- How a reap recognizes a session of a dead worker under a role that may not see it. pg_stat_activity shows the `backend_start` of
-- another role's session to members of that role and of pg_read_all_stats only (PostgreSQL manual, 27.2.3). The owner of this schema is
-- a member of the roles of services and handlers (`leaseq migrate --grants`). Null: the owner may not see the session either, or it is gone.
create function leaseq.session_start(session integer) returns timestamptz
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select a.backend_start from pg_stat_activity as a where a.pid = session and a.datname = current_database()
$$;
revoke execute on function leaseq.session_start from public;

-- The roles that may end a session may call this one too, so that no `leaseq migrate --grants` is needed after this migration.
do $$
declare
    grantee text;
begin
    for grantee in
        select distinct r.rolname
        from pg_proc as p
        cross join aclexplode(p.proacl) as a
        join pg_roles as r on r.oid = a.grantee
        where p.oid = 'leaseq.end_session(integer)'::regprocedure and a.privilege_type = 'EXECUTE' and r.oid <> p.proowner
    loop
        execute format('grant execute on function leaseq.session_start to %I', grantee);
    end loop;
end
$$;
