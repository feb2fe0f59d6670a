-- Record the limits that an app declares, at its start. A limit that is new is made. One that exists is
-- changed where the declaration is another than the last one, and else stays as an operator has set it.
-- Zero rows: nothing is new.
with sent as (
    select * from json_to_recordset(%(limits)s::json) as s (
        name text, concurrency integer, key_concurrency integer, rate text, burst integer, key_rate text, key_burst integer,
        strict boolean, weights jsonb, declared text, rate_every numeric, rate_most numeric, key_every numeric, key_most numeric
    )
), made as (
    insert into leaseq.limits as l
        (name, concurrency, key_concurrency, rate, burst, key_rate, key_burst, strict, weights, declared)
    select name, concurrency, key_concurrency, rate, burst, key_rate, key_burst, strict, weights, declared
    from sent order by name
    on conflict (name) do update
    set concurrency = excluded.concurrency, key_concurrency = excluded.key_concurrency, rate = excluded.rate,
        burst = excluded.burst, key_rate = excluded.key_rate, key_burst = excluded.key_burst, strict = excluded.strict,
        weights = excluded.weights, declared = excluded.declared, updated_at = clock_timestamp()
    where l.declared is distinct from excluded.declared
    returning l.id, l.name
), guarded as (
    insert into leaseq.guards as g (limit_id, rate_every, rate_most, key_every, key_most)
    select m.id, s.rate_every, s.rate_most, s.key_every, s.key_most
    from made as m
    join sent as s on s.name = m.name
    order by m.id
    on conflict (limit_id) do update
    set version = g.version + 1, rate_every = excluded.rate_every, rate_most = excluded.rate_most,
        key_every = excluded.key_every, key_most = excluded.key_most
)
select name from made
