-- Note that these keys were used. A row that another process is noting at the moment is left to it.
with used as (
    select id from leaseq.api_keys
    where id = any(%(ids)s::text[]) and (last_used_at is null or last_used_at < now() - interval '1 minute')
    order by id
    for update skip locked
)
update leaseq.api_keys as k set last_used_at = now() from used where k.id = used.id
