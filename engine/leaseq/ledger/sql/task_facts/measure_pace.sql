-- Measure how quickly tasks of a queue begin: of the tasks that were submitted just before these
-- ids, which are the heads of its lanes, count those that began within a minute. One row always.
-- `span` is the time since the first of them began, and `newer` how many began in the second half of
-- it. Looks at `rows` tasks for each id along the primary key, in a table of any size.
with looked_at as materialized (
    select distinct t.id, t.started_at
    from unnest((select %(heads)s::uuid[])) as head (id)
    cross join lateral (
        select n.id, n.queue, n.started_at
        from leaseq.tasks as n
        where n.id < head.id
        order by n.id desc
        limit %(rows)s
    ) as t
    where t.queue = %(queue)s and t.started_at > clock_timestamp() - interval '1 minute'
), span as materialized (
    select clock_timestamp() as now, min(started_at) as first, max(started_at) as last, count(*) as count from looked_at
)
select
    s.count, coalesce(extract(epoch from s.now - s.first), 0)::double precision as span,
    coalesce(extract(epoch from s.now - s.last), 0)::double precision as since_last,
    (select count(*) from looked_at as l where l.started_at > s.now - (s.now - s.first) / 2) as newer
from span as s
