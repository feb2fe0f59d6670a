-- The attempts of one task that did not succeed, oldest first. Zero rows: none.
select
    a.task_id::text, a.attempt, a.outcome, a.worker_id, a.started_at, a.finished_at, a.next_state, a.error::text, a.hand_backs
from leaseq.attempts a
join leaseq.tasks t on t.id = a.task_id
where a.task_id = %(task_id)s and (%(tenant)s::text is null or t.tenant = %(tenant)s)
order by a.attempt
