-- Revoke an API key. A key that was revoked before keeps its time. Zero rows: there is no such key.
update leaseq.api_keys
set revoked_at = coalesce(revoked_at, clock_timestamp())
where id = %(id)s
returning id, name, scopes, tenant, created_at, expires_at, revoked_at, replaced_by, last_used_at, rate, burst
