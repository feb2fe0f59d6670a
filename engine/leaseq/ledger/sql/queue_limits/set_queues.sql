-- Give queues a limit (`limit_names`), make them fair between tenants, or make them plain (neither). A
-- declaration of an app changes a queue only where it is another than the last one; `declared` is null
-- for an operator. The limit of a queue that is fair begins with `least` permits, which
-- size_fair_queues.sql changes. That of a queue which is fair no more stays, with so many permits
-- (`most`) that its line empties. As in put_limit.sql, each change increases the version of the guard. A
-- queue whose limit is another than before is walked twice, for the tasks that were submitted before
-- (adopt_tasks.sql). A limit that does not exist is an error, 23514. Zero rows: nothing has changed.
with sent as (
    select * from unnest(%(queues)s::text[], %(limit_names)s::text[], %(fair)s::boolean[], %(declared)s::text[])
        as s (queue, limit_name, fair, declared)
), wanted as materialized (
    select s.*, %(mark)s::text || s.queue as own
    from sent as s
    left join leaseq.queue_limits as q on q.queue = s.queue
    where s.declared is null or q.declared is distinct from s.declared
), owned as (
    insert into leaseq.limits as l (name, concurrency)
    select w.own, case when w.fair then %(least)s::integer else %(most)s::integer end
    from wanted as w
    where w.fair or exists (select from leaseq.limits as x where x.name = w.own)
    order by w.own
    on conflict (name) do update
    set
        concurrency = case
            when excluded.concurrency = %(most)s::integer or l.concurrency = %(most)s::integer then excluded.concurrency
            else l.concurrency
        end,
        updated_at = clock_timestamp()
    returning l.id, l.name
), guarded as (
    insert into leaseq.guards as g (limit_id)
    select id from owned order by id
    on conflict (limit_id) do update set version = g.version + 1
), named as materialized (
    select w.queue, w.fair, w.declared, case when w.fair then w.own else w.limit_name end as limit_name, coalesce(o.id, l.id) as limit_id
    from wanted as w
    left join owned as o on w.fair and o.name = w.own
    left join leaseq.limits as l on not w.fair and l.name = w.limit_name
), known as (
    insert into leaseq.queues (name)
    select n.queue from named as n
    where n.limit_name is not null and not exists (select from leaseq.queues as q where q.name = n.queue)
    order by n.queue
    on conflict (name) do nothing
)
insert into leaseq.queue_limits as q (queue, limit_id, limit_name, fair, declared, walks)
select n.queue, n.limit_id, n.limit_name, n.fair, n.declared, case when n.limit_name is null then 0 else 2 end
from named as n
order by n.queue
on conflict (queue) do update
set
    limit_id = excluded.limit_id, limit_name = excluded.limit_name, fair = excluded.fair,
    declared = coalesce(excluded.declared, q.declared), changed_at = clock_timestamp(),
    walks = case when q.limit_id = excluded.limit_id then q.walks else excluded.walks end,
    walked = case when q.limit_id = excluded.limit_id then q.walked else '00000000-0000-0000-0000-000000000000'::uuid end
returning q.queue
