-- Acknowledge a group of failures of a tenant (of every tenant: null), until it occurs in a version of
-- the application in which it has not occurred so far. No transition. Zero rows: there is no such group.
with found as materialized (
    select type, fingerprint, tenant from leaseq.failures
    where type = %(type)s and fingerprint = %(fingerprint)s and (%(tenant)s::text is null or tenant = %(tenant)s::text)
    order by tenant
    for no key update
)
update leaseq.failures as f
set acknowledged_at = clock_timestamp(), acknowledged_by = %(by)s,
    acknowledged_in = array(select jsonb_object_keys(f.versions)), returned_at = null
from found
where f.type = found.type and f.fingerprint = found.fingerprint and f.tenant = found.tenant
returning f.tenant
