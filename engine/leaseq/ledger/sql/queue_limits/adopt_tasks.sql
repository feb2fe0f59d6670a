-- adopt: PENDING -> SCHEDULED, for tasks without a limit in queues that have one, among the next `size`
-- tasks behind `walked`. Such a task waits in the line of the limit of its queue from now on, and
-- admit_tasks.sql promotes it. Its delivery, if it has one, finds it in another state and is dropped by
-- the claim. A task that waits for a time stays SCHEDULED, and waits in that line afterwards. A task that
-- runs stays without a limit until it has ended. A row that another transaction has locked is left to the
-- second walk. The conditions are judged on the row as it is when it is locked; one that a newer version
-- makes true is left to the second walk, too. The position moves in the same statement, and only if it
-- was not moved by another reaper. One row: the number of tasks, and whether this walk is at its end.
-- A task that is not counted was left as it is. Zero rows: never.
with chunk as materialized (
    select id, queue, traits, state from leaseq.tasks
    where id > %(walked)s::uuid
    order by id
    limit %(size)s
), held as materialized (
    select t.id, t.state, q.limit_id, q.limit_name
    from chunk as c
    join leaseq.queue_limits as q on q.queue = c.queue
    join leaseq.tasks as t on t.id = c.id
    where c.queue = any(%(queues)s::text[]) and coalesce(c.traits, 0) & 1 = 0 and c.state in ('PENDING', 'SCHEDULED')
        and q.limit_id is not null and coalesce(t.traits, 0) & 1 = 0 and t.state in ('PENDING', 'SCHEDULED')
    order by t.id
    for no key update of t skip locked
), adopted as (
    update leaseq.tasks as t
    set
        state = 'SCHEDULED', traits = coalesce(t.traits, 0) | 1, limit_name = h.limit_name,
        run_at = case when h.state = 'PENDING' then now() else t.run_at end
    from held as h
    where t.id = h.id and coalesce(t.traits, 0) & 1 = 0 and t.state = h.state
    returning t.id, t.tenant, t.priority, h.limit_id, h.state = 'PENDING' as due
), lined as (
    insert into leaseq.limited (task_id, limit_id, tenant, key, priority, due)
    select id, limit_id, tenant, '', priority, due from adopted order by id
), moved as (
    update leaseq.queue_limits as q
    set
        walks = case when last.is_end then q.walks - 1 else q.walks end,
        walked = case when last.is_end then '00000000-0000-0000-0000-000000000000'::uuid else last.id end
    from (
        select (select c.id from chunk as c order by c.id desc limit 1) as id, (select count(*) from chunk) < %(size)s as is_end
    ) as last
    where q.queue = any(%(queues)s::text[]) and q.walks = %(walks)s and q.walked = %(walked)s::uuid
)
select (select count(*)::integer from adopted) as adopted, (select count(*) from chunk) < %(size)s as is_end
