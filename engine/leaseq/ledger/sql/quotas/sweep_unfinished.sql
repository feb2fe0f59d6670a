-- Remove rows of unfinished_tasks whose task has ended or was pruned, in each of these queues of tenants,
-- from the oldest behind a place on, and among so many rows at most; of `removed` tenants, whose quota
-- was removed, every row. Returns how many rows of each queue were looked at, how many of them had to
-- go, and the last one. Zero rows for a queue: none is behind its place.
-- States are looked up one by one: no plan may read all tasks. A row that another transaction holds is
-- left for the next sweep. A row of a task that was redriven since the statement began has another
-- `since`, and stays: some versions of Postgres do not compare the ctid of a row again that they have
-- waited for.
with looked as materialized (
    select
        p.tenant, p.queue, u.task_id, u.since,
        p.removed or coalesce(
            (select t.state in ('SUCCESS', 'FAILED', 'CANCELLED') from leaseq.tasks as t where t.id = u.task_id), true
        ) as ended
    from unnest(
        %(tenants)s::text[], %(queues)s::text[], %(after)s::uuid[], %(removed)s::boolean[]
    ) as p (tenant, queue, after, removed)
    cross join lateral (
        select task_id, since
        from leaseq.unfinished_tasks
        where tenant = p.tenant and queue = p.queue and task_id > p.after
        order by task_id
        limit %(chunk)s
    ) as u
), free as materialized (
    select u.place
    from looked as l
    cross join lateral (
        select ctid as place
        from leaseq.unfinished_tasks
        where tenant = l.tenant and queue = l.queue and task_id = l.task_id and since = l.since
        offset 0
        for update skip locked
    ) as u
    where l.ended
), gone as (
    delete from leaseq.unfinished_tasks where ctid = any(array(select place from free))
    returning tenant, queue
), counted as (
    insert into leaseq.unfinished_counts (tenant, queue, tasks)
    select tenant, queue, -count(*) from gone group by tenant, queue
)
select
    tenant, queue, count(*) as looked, count(*) filter (where ended) as ended,
    ((array_agg(task_id order by task_id desc))[1])::text as last
from looked
group by tenant, queue
