-- Record the limits that an app declares, at its start. A limit that is new is made. One that exists is
-- changed where the declaration is another than the last one, and else stays as an operator has set it.
-- Zero rows: nothing is new.
with sent as (
    select * from unnest(
        %(names)s::text[], %(concurrencies)s::integer[], %(key_concurrencies)s::integer[], %(declared)s::text[]
    ) as s (name, concurrency, key_concurrency, declared)
), made as (
    insert into leaseq.limits as l (name, concurrency, key_concurrency, declared)
    select name, concurrency, key_concurrency, declared from sent order by name
    on conflict (name) do update
    set concurrency = excluded.concurrency, key_concurrency = excluded.key_concurrency, declared = excluded.declared,
        updated_at = clock_timestamp()
    where l.declared is distinct from excluded.declared
    returning l.id, l.name
), guarded as (
    insert into leaseq.guards as g (limit_id)
    select id from made order by id
    on conflict (limit_id) do update set version = g.version + 1
)
select name from made
