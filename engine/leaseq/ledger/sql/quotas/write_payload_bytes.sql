-- Write the bytes of payloads that this process has accepted, by day and tenant: the whole sum of each,
-- so that it may be repeated.
insert into leaseq.payload_bytes as b (day, tenant, process, bytes)
select day, tenant, %(process)s::uuid, bytes
from unnest(%(days)s::date[], %(tenants)s::text[], %(bytes)s::bigint[]) as s (day, tenant, bytes)
order by day, tenant
on conflict (day, tenant, process) do update
set bytes = greatest(b.bytes, excluded.bytes)
