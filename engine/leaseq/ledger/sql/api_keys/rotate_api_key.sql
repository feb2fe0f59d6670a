-- Create a key with the name, the scopes, the tenant and the rate of another one, and end that one after
-- `overlap` seconds, or at its own expiry if that is earlier. The new key expires as long after its
-- creation as the old one did. Zero rows: there is no such key, or it was revoked, has expired, or
-- was rotated before. Locks the old key first, so that of two rotations at the same time one
-- changes nothing.
with old as (
    select id, name, scopes, tenant, created_at, expires_at, rate, burst
    from leaseq.api_keys
    where id = %(old_id)s and revoked_at is null and replaced_by is null and (expires_at is null or expires_at > now())
    for update
), ended as (
    update leaseq.api_keys as k
    set expires_at = least(k.expires_at, now() + make_interval(secs => %(overlap)s::float8)), replaced_by = %(id)s
    from old
    where k.id = old.id
)
insert into leaseq.api_keys (id, name, digest, scopes, tenant, expires_at, rate, burst)
select %(id)s, name, %(digest)s, scopes, tenant, now() + (expires_at - created_at), rate, burst from old
returning id, name, scopes, tenant, created_at, expires_at, revoked_at, replaced_by, last_used_at, rate, burst
