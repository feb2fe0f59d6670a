-- Set the limit on the requests of a key; null: no limit. Zero rows: there is no such key.
update leaseq.api_keys
set rate = %(rate)s::float8, burst = %(burst)s::integer
where id = %(id)s
returning
    id, name, scopes, tenant, created_at, expires_at, revoked_at, replaced_by, last_used_at, rate, burst
