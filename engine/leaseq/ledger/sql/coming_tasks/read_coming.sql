-- Read the SCHEDULED tasks that are due within %(horizon)s seconds, and those that are overdue, by the
-- clock of this server. The places (a queue and a priority each) are found by jumps along the index,
-- the first %(places)s of them, and of each the same number of tasks is looked at, %(most)s in total.
-- `until`: tasks that are due later were not all looked at (null: all were, `partial` is false).
-- `bins` and `counts` have the number of tasks in each minute from now on, -1 for those that are
-- overdue, and `first` is when the first of them became due. The rows are the first %(limit)s tasks,
-- in the order in which they are due, of one tenant (of any: null). Always one row: its task_id is
-- null where none is due.
with recursive jump as (
    (
        select s.queue, s.priority from leaseq.scheduled as s
        order by s.queue, s.priority, s.run_at, s.task_id
        limit 1
    )
    union all
    select further.queue, further.priority
    from jump
    cross join lateral (
        select s.queue, s.priority from leaseq.scheduled as s
        where (s.queue, s.priority) > (jump.queue, jump.priority)
        order by s.queue, s.priority, s.run_at, s.task_id
        limit 1
    ) as further
), place as materialized (
    select queue, priority from jump limit %(places)s::integer
), share as (
    select greatest(%(most)s::integer / greatest(count(*), 1), 1) as most, count(*) = %(places)s::integer as partial from place
), found as materialized (
    select waiting.task_id, waiting.run_at, waiting.place_end
    from place
    cross join share
    cross join lateral (
        select
            s.task_id, s.run_at,
            case when row_number() over (order by s.run_at, s.task_id) = share.most then s.run_at end as place_end
        from (
            select s.task_id, s.run_at from leaseq.scheduled as s
            where s.queue = place.queue and s.priority = place.priority
                and s.run_at < now() + make_interval(secs => %(horizon)s)
            order by s.run_at, s.task_id
            limit share.most
        ) as s
    ) as waiting
), binned as (
    select
        case
            when run_at <= now() then -1
            else floor(extract(epoch from run_at - now()) / 60)::integer
        end as bin,
        count(*)::integer as count
    from found
    group by 1
), listed as (
    select
        t.id, t.tenant, t.queue, t.type, f.run_at, t.created_at, t.attempt, t.max_attempts, t.hand_back_count,
        t.error::text as error
    from (select task_id, run_at from found order by run_at, task_id limit %(rows)s::integer) as f
    join leaseq.tasks as t on t.id = f.task_id
    where %(tenant)s::text is null or t.tenant = %(tenant)s
    order by f.run_at, f.task_id
    limit %(limit)s::integer
)
select
    now() as now, (select min(place_end) from found) as until, (select partial from share) as partial,
    (select min(run_at) from found where run_at <= now()) as first,
    (select array_agg(bin order by bin) from binned) as bins,
    (select array_agg(count order by bin) from binned) as counts,
    listed.id::text as task_id, listed.tenant, listed.queue, listed.type, listed.run_at, listed.created_at,
    listed.attempt, listed.max_attempts, listed.hand_back_count, listed.error
from (select 1) as one
left join listed on true
order by listed.run_at, listed.id
