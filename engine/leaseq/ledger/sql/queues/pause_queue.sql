-- Pause or resume one queue. The flag in dispatch is a copy of this. The last pause says who, why
-- and when. An unknown queue can be paused only while fewer than `most` queues are paused, since
-- any client can make up names, and a paused queue is never forgotten. Resuming a name does not
-- make it known. Zero rows: the queue is not known, and was not paused.
with known as (
    update leaseq.queues
    set
        paused = %(paused)s::boolean,
        paused_by = %(by)s::text,
        paused_reason = %(reason)s::text,
        paused_at = case when %(paused)s::boolean then now() end
    where name = %(name)s::text
    returning name, paused, paused_by, paused_reason, paused_at
), added as (
    insert into leaseq.queues (name, paused, paused_by, paused_reason, paused_at)
    select %(name)s::text, true, %(by)s::text, %(reason)s::text, now()
    where %(paused)s::boolean and not exists (select from known)
        and (select count(*) from (select from leaseq.queues where paused limit %(most)s) as p) < %(most)s
    on conflict (name) do update
    set
        paused = excluded.paused,
        paused_by = excluded.paused_by,
        paused_reason = excluded.paused_reason,
        paused_at = excluded.paused_at
    returning name, paused, paused_by, paused_reason, paused_at
)
select
    p.name, p.paused, p.paused_by, p.paused_reason, p.paused_at,
    case when not l.fair then l.limit_name end as limit, coalesce(l.fair, false) as fair
from (
    select name, paused, paused_by, paused_reason, paused_at from known
    union all
    select name, paused, paused_by, paused_reason, paused_at from added
) as p
left join leaseq.queue_limits as l on l.queue = p.name
