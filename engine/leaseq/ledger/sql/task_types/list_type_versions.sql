-- List the versions of a task type, the newest first, at most %(limit)s, each with the number of open
-- workers that run it. Zero rows: no worker of this version of leaseq has registered the type.
select
    v.version, v.queue, v.max_attempts, v.timeout_seconds, v.first_seen_at,
    (
        select count(*)::integer
        from leaseq.worker_types as u
        join leaseq.workers as w on w.id = u.worker_id
        where u.type = v.type and u.version = v.version and w.closed_at is null
    ) as workers
from leaseq.type_versions as v
where v.type = %(type)s
order by v.first_seen_at desc, v.version
limit %(limit)s
