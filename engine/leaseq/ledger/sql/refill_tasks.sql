-- refill: the PENDING tasks of one lane in a stretch of the primary key, [cursor, until): the part of its backlog that comes next.
-- Changes nothing. One row always: the last id of the stretch that was looked at (null: there is none), how many were, and those
-- that are wanted, in order (of `s.id`, for the reason told in find_boundary.sql). Suspects have a lane of their own, without a
-- backlog (lifecycle.lane_of).
with stretch as materialized (
    select id, queue, state, priority, crash_count + loss_count as crashes
    from leaseq.tasks
    where id >= %(cursor)s::uuid and id < %(until)s::uuid
    order by id
    limit %(limit)s
)
select
    (select s.id::text from stretch as s order by s.id desc limit 1) as last_id,
    (select count(*) from stretch) as looked_at,
    array(
        select s.id::text from stretch as s
        where s.state = 'PENDING' and s.queue = %(queue)s and s.priority = %(priority)s and s.crashes < %(suspect)s
        order by s.id
    ) as ids
