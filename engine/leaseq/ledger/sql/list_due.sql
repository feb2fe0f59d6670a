-- Which tasks may the next promote take in these places (promote_tasks.sql, with the same arrays)? Asked before it, since nothing
-- tells afterwards which they were if its answer is lost. Zero rows: none.
-- What becomes due between this statement and that one is named too.
select waiting.task_id::text
from unnest(
    %(queues)s::text[], %(priorities)s::smallint[], %(from_ats)s::timestamptz[], %(from_ids)s::uuid[], %(limits)s::integer[]
) as place (queue, priority, from_at, from_id, most)
cross join lateral (
    select s.task_id from leaseq.scheduled as s
    where s.queue = place.queue and s.priority = place.priority and s.run_at <= now() + interval '1 minute'
        and (s.run_at, s.task_id) >= (place.from_at, place.from_id)
    order by s.run_at, s.task_id
    limit place.most
) as waiting
