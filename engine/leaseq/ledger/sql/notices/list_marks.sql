-- List the notices that are marks on a chart, newest first: of each of `names` the newest `limit`, and
-- as `deployed` the first worker of each version of the application, among the newest `workers` that
-- opened. The version that opened first among these is none: it may have run before. The column
-- `about` names the worker, the queue or the version. Zero rows: there is none.
--
-- A name is a range here and not an equality, so that only the index by name has the order. By the one
-- by time, Postgres would look through all notices for a name that is not there.
with opened as materialized (
    select id, at, fields ->> 'app_version' as version from leaseq.notices
    where (name, at, id) > ('worker.opened', '-infinity', 0) and (name, at, id) < ('worker.opened', 'infinity', 0)
    order by leaseq.notices.name desc, at desc, id desc
    limit %(workers)s
), first as materialized (
    select distinct on (version) version, at, id from opened
    where version is not null
    order by version, at, id
)
select n.id as notice_id, n.at, n.name as kind, coalesce(n.worker_id, n.queue) as about
from unnest(%(names)s::text[]) as w (name)
cross join lateral (
    select id, at, name, worker_id, queue from leaseq.notices
    where (name, at, id) > (w.name, '-infinity', 0) and (name, at, id) < (w.name, 'infinity', 0)
    order by leaseq.notices.name desc, at desc, id desc
    limit %(limit)s
) as n
union all (
    select id, at, 'deployed', version from first
    where (at, id) > (select at, id from first order by at, id limit 1)
    order by at desc, id desc
    limit %(limit)s
)
order by at desc, notice_id desc
