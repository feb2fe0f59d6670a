-- Read the keys with these ids, to judge requests by. Zero rows for an id: there is no such key.
select id, name, digest, scopes, tenant, revoked_at is not null as is_revoked, rate, burst,
    extract(epoch from expires_at - clock_timestamp())::float8 as seconds_left
from leaseq.api_keys
where id = any(%(ids)s::text[])
