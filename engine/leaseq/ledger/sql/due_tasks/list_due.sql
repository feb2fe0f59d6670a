-- List the tasks that are due by the clock of this server in some places (a queue and a priority
-- each), in each from a position on and at most `limits` of them, the longest due first. The ids of
-- one place and the moments at which they became due are two arrays, as text, which
-- promote_tasks.sql takes back unchanged. One row for each place, in the order asked, with the
-- number of due tasks (zero: none, or another reaper has them) and the last one.
select found.ids::text, found.run_ats::text, coalesce(cardinality(found.ids), 0) as count,
    found.run_ats[cardinality(found.ids)] as last_at, found.ids[cardinality(found.ids)]::text as last_id
from unnest(
    %(queues)s::text[], %(priorities)s::smallint[], %(from_ats)s::timestamptz[], %(from_ids)s::uuid[], %(limits)s::integer[]
) with ordinality as place (queue, priority, from_at, from_id, most, number)
cross join lateral (
    select array_agg(waiting.task_id) as ids, array_agg(waiting.run_at) as run_ats
    from (
        select s.task_id, s.run_at from leaseq.scheduled as s
        where s.queue = place.queue and s.priority = place.priority and s.run_at <= now()
            and (s.run_at, s.task_id) >= (place.from_at, place.from_id)
        order by s.run_at, s.task_id
        limit place.most
    ) as waiting
) as found
order by place.number
