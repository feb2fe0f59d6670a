-- Whether any API key can be used. One row always.
select exists (
    select from leaseq.api_keys where revoked_at is null and (expires_at is null or expires_at > now())
) as usable
