-- Every tenant that is known.
select name, created_at from leaseq.tenants order by name
