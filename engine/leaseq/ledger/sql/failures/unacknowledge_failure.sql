-- Take the acknowledgement of a group of failures of a tenant (of every tenant: null) back. No transition. It
-- is safe to repeat. Zero rows: there is no such group.
with found as materialized (
    select type, fingerprint, tenant from leaseq.failures
    where type = %(type)s and fingerprint = %(fingerprint)s and (%(tenant)s::text is null or tenant = %(tenant)s::text)
    order by tenant
    for no key update
)
update leaseq.failures as f
set acknowledged_at = null, acknowledged_by = null, acknowledged_in = null
from found
where f.type = found.type and f.fingerprint = found.fingerprint and f.tenant = found.tenant
returning f.tenant
