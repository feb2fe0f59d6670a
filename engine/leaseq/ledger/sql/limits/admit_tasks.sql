-- admit: SCHEDULED -> PENDING, for tasks that wait for a permit of one limit and for nothing else. Keys
-- have turns: the first task of each key, then the second of each, beginning behind the key that had
-- the last turn. A key with a weight has as many tasks in each turn, over several statements if need be. The statement visits at most `visits` keys, from one to the next by a look into the
-- index, so that neither the number of keys nor that of waiting tasks matters. It counts permits under
-- the version of the guard and gives permits only under the same version: each change of the count
-- upwards, and of the limit, increases the version, so no two statements give the same permit (rule 1 of
-- docs/decisions/0063-four-rules-of-read-committed.md). Of a limit with a rate it admits no more tasks
-- than there are tokens for those that have not started, and marks them (traits & 2): the token itself is
-- taken at the start (start_limited.sql). Where the time of a bucket is further off than it can be, it
-- admits one, whose start corrects that. Its only wait is for the guard. A task that
-- another transaction has locked is skipped. A task that a cancel and a redrive have given another row
-- in `limited` since the snapshot is left to the next pass, because only an admitted row promotes its
-- task. One row for each lane with the ids as one text with commas, and always a last one without a
-- queue: `won` is false where another statement was first, `wanted` is the number of tasks that were
-- chosen, `stuck` are those of them that were not promoted, `more` is true where the visits ended before
-- the last key and nothing was chosen, `handoff` is the row that says that the tasks are not pushed yet.
-- The rows `pushed` of earlier admissions are deleted. Zero rows: there is no such limit.
with recursive seen as materialized (
    select
        l.id, l.concurrency, l.key_concurrency, g.version, g.last_tenant, g.last_key, 'SCHEDULED' as waits,
        g.rate_every, g.rate_most, g.key_every, g.key_most, g.tat, clock_timestamp() as now, l.weights,
        case when g.turns > 0 then greatest(0, coalesce((l.weights ->> g.last_key)::integer, 1) - g.turns) else 0 end as again,
        g.turns
    from leaseq.limits as l
    join leaseq.guards as g on g.limit_id = l.id
    where l.name = %(limit)s::text
), counted as materialized (
    select
        seen.*,
        case
            when concurrency is null then %(most)s::integer
            else greatest(0, least(%(most)s::integer, concurrency - (
                select count(*)::integer from leaseq.limited as x where x.limit_id = seen.id and x.admitted_at is not null
            )))
        end as permits,
        case
            when rate_every is null then %(most)s::integer
            else greatest(0, least(%(most)s::integer, case
                when extract(epoch from tat - now) > rate_most * rate_every then 1
                else floor(rate_most - greatest(0, coalesce(extract(epoch from tat - now) / rate_every, 0)))::integer
            end - (
                select count(*)::integer from leaseq.limited as x
                where x.limit_id = seen.id and x.admitted_at is not null and x.started_at is null and x.due
            )))
        end as tokens
    from seen
), room as materialized (
    select *, least(permits, tokens) as free from counted
), turn as (
    (
        select room.id, room.free, room.last_tenant, room.last_key, k.tenant, k.key, k.lap, 1 as place
        from room
        cross join lateral (
            (
                select x.tenant, x.key, -1 as lap from leaseq.limited as x
                where room.again > 0 and x.limit_id = room.id and x.admitted_at is null and x.due
                    and x.tenant = room.last_tenant and x.key = room.last_key
                limit 1
            )
            union all
            (
                select x.tenant, x.key, 0 from leaseq.limited as x
                where x.limit_id = room.id and x.admitted_at is null and x.due and (x.tenant, x.key) > (room.last_tenant, room.last_key)
                order by x.tenant, x.key
                limit 1
            )
            union all
            (
                select x.tenant, x.key, 1 from leaseq.limited as x
                where x.limit_id = room.id and x.admitted_at is null and x.due and (x.tenant, x.key) <= (room.last_tenant, room.last_key)
                order by x.tenant, x.key
                limit 1
            )
            limit 1
        ) as k
        where room.free > 0
    )
    union all
    select turn.id, turn.free, turn.last_tenant, turn.last_key, k.tenant, k.key, k.lap, turn.place + 1
    from turn
    cross join lateral (
        (
            select x.tenant, x.key, greatest(turn.lap, 0) as lap from leaseq.limited as x
            where x.limit_id = turn.id and x.admitted_at is null and x.due and (x.tenant, x.key) > (turn.tenant, turn.key)
                and (turn.lap <= 0 or (x.tenant, x.key) <= (turn.last_tenant, turn.last_key))
            order by x.tenant, x.key
            limit 1
        )
        union all
        (
            select x.tenant, x.key, 1 from leaseq.limited as x
            where turn.lap <= 0 and x.limit_id = turn.id and x.admitted_at is null and x.due
                and (x.tenant, x.key) <= (turn.last_tenant, turn.last_key)
            order by x.tenant, x.key
            limit 1
        )
        limit 1
    ) as k
    where turn.place < least(%(visits)s::integer, 2 * turn.free + 50)
), offered as materialized (
    select
        o.task_id, o.rank, turn.place, turn.lap, turn.tenant, turn.key, w.weight,
        case when turn.lap = -1 then 1 else ceil((o.rank - w.had) / w.weight) end as round
    from turn
    cross join room
    cross join lateral (
        select
            coalesce((room.weights ->> turn.key)::numeric, 1) as weight,
            case
                when turn.lap >= 0 and turn.tenant = room.last_tenant and turn.key = room.last_key then room.again
                else 0
            end as had
    ) as w
    cross join lateral (
        select x.task_id, row_number() over (order by x.priority desc, x.task_id) as rank
        from leaseq.limited as x
        where x.limit_id = turn.id and x.tenant = turn.tenant and x.key = turn.key and x.admitted_at is null and x.due
            and x.task_id <> all(%(skipped)s::uuid[])
        order by x.priority desc, x.task_id
        limit least(
            case
                when room.key_concurrency is null then room.free
                else greatest(0, least(room.free, room.key_concurrency - (
                    select count(*)::integer from leaseq.limited as a
                    where a.limit_id = turn.id and a.tenant = turn.tenant and a.key = turn.key and a.admitted_at is not null
                )))
            end,
            case
                when room.key_every is null then room.free
                else greatest(0, least(room.free, coalesce((
                    select case
                        when extract(epoch from b.tat - room.now) > room.key_most * room.key_every then 1
                        else floor(room.key_most - greatest(0, extract(epoch from b.tat - room.now) / room.key_every))::integer
                    end
                    from leaseq.buckets as b
                    where b.limit_id = turn.id and b.tenant = turn.tenant and b.key = turn.key
                ), floor(room.key_most)::integer) - (
                    select count(*)::integer from leaseq.limited as a
                    where a.limit_id = turn.id and a.tenant = turn.tenant and a.key = turn.key and a.admitted_at is not null
                        and a.started_at is null and a.due
                )))
            end
        )
    ) as o
    where case when turn.lap = -1 then o.rank <= room.again else o.rank > w.had end
), picked as materialized (
    select * from offered order by round, place, rank limit (select free from room)
), visited as materialized (
    select
        (select count(*) from turn) as keys,
        (select count(*) from picked) as wanted,
        (select least(%(visits)s::integer, 2 * free + 50) from room) as most
), pointer as materialized (
    -- The key with the last turn, and its tasks in that turn, if it may have more; where all that were visited are full,
    -- the last of them.
    select tenant, key, turns from (
        (
            select
                p.tenant, p.key, 0 as kind,
                mod((
                    select count(*) from picked as o where o.place = p.place and o.round = p.round
                ) + case when p.lap = -1 then seen.turns else 0 end, p.weight)::integer as turns
            from picked as p
            cross join seen
            order by p.round desc, p.place desc
            limit 1
        )
        union all
        (select t.tenant, t.key, 1, 0 from turn as t order by t.place desc limit 1)
    ) as passed
    order by kind
    limit 1
), won as (
    update leaseq.guards as g
    set version = g.version + 1, given = g.given + visited.wanted, last_tenant = pointer.tenant, last_key = pointer.key,
        turns = pointer.turns
    from seen, pointer, visited
    where g.limit_id = seen.id and g.version = seen.version and (visited.wanted > 0 or visited.keys = visited.most)
    returning g.limit_id
), held as materialized (
    select t.id
    from won
    cross join picked
    cross join seen
    join leaseq.tasks as t on t.id = picked.task_id and t.state = seen.waits
    order by t.id
    for no key update of t skip locked
), admitted as (
    update leaseq.limited as x
    set admitted_at = clock_timestamp()
    from held
    where x.task_id = held.id and x.admitted_at is null and x.due
    returning x.task_id
), promoted as (
    update leaseq.tasks as t
    set state = 'PENDING', run_at = clock_timestamp(),
        traits = case when seen.rate_every is null and seen.key_every is null then t.traits & ~2::smallint else t.traits | 2::smallint end
    from admitted as a, seen
    where t.id = a.task_id and t.state = seen.waits
    returning t.id, t.queue, t.priority, t.crash_count + t.loss_count >= %(suspect)s::integer as is_suspect
), named as (
    insert into leaseq.queues (name)
    select distinct p.queue from promoted as p
    where not exists (select from leaseq.queues as q where q.name = p.queue)
    order by p.queue
    on conflict (name) do nothing
), handed as (
    insert into leaseq.handoffs (task_ids)
    select array_agg(id) from promoted having count(*) > 0
    returning id
), pushed as (
    delete from leaseq.handoffs where id = any(%(pushed)s::bigint[])
)
select
    queue, priority, is_suspect, string_agg(id::text, ',' order by id) as ids,
    true as won, 0::bigint as wanted, '' as stuck, false as more, null::bigint as handoff
from promoted
group by queue, priority, is_suspect
union all
select
    null, null, null, null,
    exists (select from won) or visited.wanted = 0, visited.wanted,
    coalesce((
        select string_agg(p.task_id::text, ',' order by p.task_id) from picked as p
        where exists (select from won) and p.task_id not in (select id from promoted)
    ), ''),
    visited.wanted = 0 and visited.keys > 0 and visited.keys = visited.most,
    (select id from handed)
from visited
cross join seen
