-- Take tokens from the buckets of API keys, as many as are wanted and whole ones are there, and
-- return how many were granted and are left. The clock is read once, after the row was locked, so
-- that no two looks count the same moment. A bucket that has no row is full. Buckets are locked in
-- order, so that two processes wait for each other instead of deadlocking.
insert into leaseq.rate_buckets as b (key_id, rate, burst, wanted, granted, tokens, looked_at)
select key_id, rate, burst, wanted, least(wanted, burst), burst - least(wanted, burst), clock_timestamp()
from unnest(
    %(key_ids)s::text[], %(rates)s::float8[], %(bursts)s::integer[], %(wanted)s::integer[]
) as w (key_id, rate, burst, wanted)
order by key_id
on conflict (key_id) do update
set (rate, burst, wanted, granted, tokens, looked_at) = (
    select
        excluded.rate, excluded.burst, excluded.wanted, taken.granted, filled.tokens - taken.granted, clock.now
    from (select clock_timestamp() as now offset 0) as clock
    cross join lateral (
        select least(
            excluded.burst,
            b.tokens + excluded.rate * greatest(0, extract(epoch from clock.now - b.looked_at)::float8)
        ) as tokens
        offset 0
    ) as filled
    cross join lateral (select least(excluded.wanted, floor(filled.tokens)::integer) as granted offset 0) as taken
)
returning b.key_id, b.granted, b.tokens
