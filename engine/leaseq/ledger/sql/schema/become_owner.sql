-- Act as the owner of schema leaseq from here on. Objects that a migration makes then belong to
-- that role, regardless of the role that has connected. Zero rows: there is no schema yet, we are
-- the owner, or we may not act as the owner.
select set_config('role', r.rolname, false)
from pg_namespace as n
join pg_roles as r on r.oid = n.nspowner
where n.nspname = 'leaseq' and r.rolname <> current_user and pg_has_role(r.oid, 'member')
