-- start: take a token of its limit's rate, and of its key's, for each of these attempts. The guards are
-- locked first, and the buckets are judged in their newest versions, at a time that is read after the
-- lock: a rate stands in the row of the guard, so it is the one of that moment. A full bucket has
-- `rate_most` tokens. `tat` is the time at which it is full again; one that is further off than an empty
-- bucket allows comes from a clock that was set back, or from a rate that was changed: it counts as
-- empty from now on. A key whose bucket was made since the snapshot gets no token now. An attempt that has a token
-- already keeps it, so a repetition after a lost answer takes none. The token of a key whose limit has none
-- is lost. One row for each attempt that is
-- still this worker's: its id, and the seconds it has to wait, 0 where it may start. Zero rows for an id:
-- its task is locked, or was taken from this worker, and it must not start.
with sent as materialized (
    select *, 'PROCESSING' as runs from unnest((select %(ids)s::uuid[]), %(attempts)s::integer[]) as s (task_id, attempt)
), guarded as materialized (
    select g.limit_id, g.rate_every, g.rate_most, g.key_every, g.key_most, g.tat
    from leaseq.guards as g
    where g.limit_id in (select x.limit_id from sent join leaseq.limited as x on x.task_id = sent.task_id)
    order by g.limit_id
    for update
), clock as materialized (
    select clock_timestamp() as now, count(*) as locked from guarded
), held as materialized (
    select t.id
    from clock
    cross join sent
    join leaseq.tasks as t
        on t.id = sent.task_id and t.attempt = sent.attempt and t.state = sent.runs and t.worker_id = %(worker_id)s::text
    order by t.id
    for no key update of t skip locked
), wanted as materialized (
    select held.id, x.limit_id, x.tenant, x.key, x.started_at, g.rate_every, g.rate_most, g.key_every, g.key_most, g.tat
    from held
    left join leaseq.limited as x on x.task_id = held.id
    left join guarded as g on g.limit_id = x.limit_id
), filled as materialized (
    select b.limit_id, b.tenant, b.key, b.tat
    from leaseq.buckets as b
    where (b.limit_id, b.tenant, b.key) in (select w.limit_id, w.tenant, w.key from wanted as w where w.key_every is not null)
    order by b.limit_id, b.tenant, b.key
    for update
), keyed as materialized (
    select
        w.*, f.tat as key_tat, w.key_every * (
            row_number() over (partition by w.limit_id, w.tenant, w.key, w.started_at is null order by w.id)
            - w.key_most + greatest(0, least(w.key_most, coalesce(extract(epoch from f.tat - clock.now) / w.key_every, 0)))
        ) as key_wait
    from wanted as w
    cross join clock
    left join filled as f on f.limit_id = w.limit_id and f.tenant = w.tenant and f.key = w.key
), spent as (
    insert into leaseq.buckets as b (limit_id, tenant, key, tat)
    select
        k.limit_id, k.tenant, k.key,
        greatest(clock.now, least(coalesce(k.key_tat, clock.now), clock.now + make_interval(secs => (k.key_every * k.key_most)::float8)))
            + count(*) filter (where k.key_wait <= 0) * make_interval(secs => k.key_every::float8)
    from keyed as k
    cross join clock
    where k.key_every is not null and k.started_at is null
    group by k.limit_id, k.tenant, k.key, k.key_tat, k.key_every, k.key_most, clock.now
    having count(*) filter (where k.key_wait <= 0) > 0 or extract(epoch from k.key_tat - clock.now) > k.key_most * k.key_every
    order by k.limit_id, k.tenant, k.key
    on conflict (limit_id, tenant, key) do update
    set tat = excluded.tat
    where b.tat = (select f.tat from filled as f where f.limit_id = b.limit_id and f.tenant = b.tenant and f.key = b.key)
    returning b.limit_id, b.tenant, b.key
), allowed as materialized (
    select
        k.*, k.started_at is not null or k.key_every is null or (k.key_wait <= 0 and s.limit_id is not null) as has_key
    from keyed as k
    left join spent as s on s.limit_id = k.limit_id and s.tenant = k.tenant and s.key = k.key
), judged as materialized (
    select
        a.*, a.rate_every * (
            row_number() over (partition by a.limit_id, a.has_key and a.started_at is null order by a.id)
            - a.rate_most + greatest(0, least(a.rate_most, coalesce(extract(epoch from a.tat - clock.now) / a.rate_every, 0)))
        ) as wait
    from allowed as a
    cross join clock
), started as (
    update leaseq.limited as x
    set started_at = clock.now
    from judged as j, clock
    where x.task_id = j.id and j.started_at is null and j.has_key and (j.wait is null or j.wait <= 0)
    returning x.task_id, x.limit_id
), taken as (
    update leaseq.guards as g
    set tat = greatest(clock.now, least(coalesce(g.tat, clock.now), clock.now + make_interval(secs => (g.rate_every * g.rate_most)::float8)))
        + t.tokens * make_interval(secs => g.rate_every::float8)
    from (
        select u.limit_id, (select count(*) from started as s where s.limit_id = u.limit_id) as tokens from guarded as u
    ) as t, clock
    where g.limit_id = t.limit_id and g.rate_every is not null
        and (t.tokens > 0 or extract(epoch from g.tat - clock.now) > g.rate_most * g.rate_every)
)
select
    j.id::text as task_id,
    case
        when j.limit_id is null or j.started_at is not null or s.task_id is not null then 0
        else greatest(%(least)s::float8, least(%(most)s::float8, greatest(j.wait, j.key_wait)::float8))
    end as wait
from judged as j
left join started as s on s.task_id = j.id
