-- The roles of services may read and write heartbeats (0011) without another `leaseq migrate --grants`. A service role is one that may
-- end a session (`leaseq.end_session`), as in 0012.
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
        execute format('grant select, insert, update, delete on leaseq.heartbeats to %I', grantee);
        execute format('grant execute on function leaseq.last_seen(text) to %I', grantee);
    end loop;
end
$$;
