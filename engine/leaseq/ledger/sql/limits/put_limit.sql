-- Make a limit, or change it. The version of its guard increases in the same transaction: an admission
-- that has counted under the limit of before admits nothing after this is committed. The bucket of a rate
-- stands in the guard, and a start reads it under the lock of that row, so it takes no token by a rate of
-- before. Zero rows: never.
with made as (
    insert into leaseq.limits as l (name, concurrency, key_concurrency, rate, burst, key_rate, key_burst, strict, weights)
    values (
        %(name)s::text, %(concurrency)s::integer, %(key_concurrency)s::integer, %(rate)s::text, %(burst)s::integer,
        %(key_rate)s::text, %(key_burst)s::integer, %(strict)s::boolean, %(weights)s::jsonb
    )
    on conflict (name) do update
    set concurrency = excluded.concurrency, key_concurrency = excluded.key_concurrency, rate = excluded.rate,
        burst = excluded.burst, key_rate = excluded.key_rate, key_burst = excluded.key_burst, strict = excluded.strict,
        weights = excluded.weights, updated_at = clock_timestamp()
    returning l.id, l.name
), guarded as (
    insert into leaseq.guards as g (limit_id, rate_every, rate_most, key_every, key_most)
    select id, %(rate_every)s::numeric, %(rate_most)s::numeric, %(key_every)s::numeric, %(key_most)s::numeric from made
    on conflict (limit_id) do update
    set version = g.version + 1, rate_every = excluded.rate_every, rate_most = excluded.rate_most,
        key_every = excluded.key_every, key_most = excluded.key_most
)
select name from made
