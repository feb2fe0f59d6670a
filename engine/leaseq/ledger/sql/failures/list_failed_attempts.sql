-- The newest attempts of a group of failures of a tenant (of every tenant: null) that are still recorded,
-- newest first, at most `limit`. Zero rows: there is no such group, or all of them were erased or pruned.
-- Each is looked up by its primary key.
with newest as materialized (
    select n.task_id, n.attempt, f.tenant
    from leaseq.failures as f
    cross join lateral unnest(f.tasks, f.attempts) as n (task_id, attempt)
    where f.type = %(type)s and f.fingerprint = %(fingerprint)s and (%(tenant)s::text is null or f.tenant = %(tenant)s::text)
)
select
    a.task_id::text, a.attempt, n.tenant, t.queue, t.state, a.outcome, a.worker_id, w.host, w.app_version as version, a.finished_at,
    a.next_state, a.error::text
from newest as n
join leaseq.attempts as a on a.task_id = n.task_id and a.attempt = n.attempt
join leaseq.tasks as t on t.id = a.task_id
left join leaseq.workers as w on w.id = a.worker_id
order by a.finished_at desc
limit %(limit)s
