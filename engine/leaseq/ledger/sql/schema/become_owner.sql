-- Act as the owner of schema leaseq from here on, so that what a migration makes belongs to that
-- role, whichever role that may do so has connected. Zero rows: there is no schema yet, we are the
-- owner, or we may not.
select set_config('role', r.rolname, false)
from pg_namespace as n
join pg_roles as r on r.oid = n.nspowner
where n.nspname = 'leaseq' and r.rolname <> current_user and pg_has_role(r.oid, 'member')
