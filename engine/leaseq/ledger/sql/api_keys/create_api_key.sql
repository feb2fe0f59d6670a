-- Create an API key. Zero rows: there is no such tenant, or the id exists (the same key sent
-- again).
insert into leaseq.api_keys (id, name, digest, scopes, tenant, expires_at, rate, burst)
select
    %(id)s, %(name)s, %(digest)s, %(scopes)s::text[], %(tenant)s::text, now() + make_interval(secs => %(seconds)s::float8),
    %(rate)s::float8, %(burst)s::integer
where %(tenant)s::text is null or exists (select from leaseq.tenants where name = %(tenant)s::text)
on conflict (id) do nothing
returning id, name, scopes, tenant, created_at, expires_at, revoked_at, replaced_by, last_used_at, rate, burst
