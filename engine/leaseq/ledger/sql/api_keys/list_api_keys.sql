-- List API keys, newest first; those that are revoked or have expired only with `ended`.
select id, name, scopes, tenant, created_at, expires_at, revoked_at, replaced_by, last_used_at, rate, burst
from leaseq.api_keys
where %(ended)s or (revoked_at is null and (expires_at is null or expires_at > now()))
order by created_at desc, id
limit %(limit)s
