-- The bytes of payloads that other processes have accepted on a day, by tenant.
select tenant, sum(bytes)::bigint as bytes
from leaseq.payload_bytes
where day = %(day)s::date and process <> %(process)s::uuid
group by tenant
