-- Delete workers that were closed long ago, and their heartbeats. Then delete versions of task
-- types that are as old and that no known worker has used, except the newest version of each type.
-- Zero rows: no worker.
with gone as (
    delete from leaseq.workers
    where closed_at < now() - make_interval(secs => %(retention)s)
    returning id
), unused as (
    delete from leaseq.type_versions as v
    where v.first_seen_at < now() - make_interval(secs => %(retention)s)
        and not exists (select from leaseq.worker_types as u where u.type = v.type and u.version = v.version)
        and exists (select from leaseq.type_versions as o where o.type = v.type and o.first_seen_at > v.first_seen_at)
), silent as (
    delete from leaseq.heartbeats as h using gone where h.worker_id = gone.id
)
select id from gone
