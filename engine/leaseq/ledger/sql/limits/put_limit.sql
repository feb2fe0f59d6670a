-- Make a limit, or change it. The version of its guard increases in the same transaction: an admission
-- that has counted under the limit of before admits nothing after this is committed. Zero rows: never.
with made as (
    insert into leaseq.limits as l (name, concurrency, key_concurrency)
    values (%(name)s::text, %(concurrency)s::integer, %(key_concurrency)s::integer)
    on conflict (name) do update
    set concurrency = excluded.concurrency, key_concurrency = excluded.key_concurrency, updated_at = clock_timestamp()
    returning l.id, l.name, l.concurrency, l.key_concurrency, l.updated_at
), guarded as (
    insert into leaseq.guards as g (limit_id)
    select id from made
    on conflict (limit_id) do update set version = g.version + 1
)
select name, concurrency, key_concurrency, updated_at from made
