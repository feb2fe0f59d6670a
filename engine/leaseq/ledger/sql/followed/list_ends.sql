-- The attempts of these tasks that did not succeed and whose number is above `after`, oldest first.
-- A row of hand-backs has the number of the last of them. Zero rows for a task: none.
select
    a.task_id::text, a.attempt, a.outcome, a.worker_id, a.started_at, a.finished_at, a.next_state, a.error::text, a.hand_backs
from unnest((select %(ids)s::uuid[]), %(after)s::integer[]) as w (id, after)
join leaseq.attempts as a on a.task_id = w.id and a.attempt + coalesce(a.hand_backs, 1) - 1 > w.after
order by a.task_id, a.attempt
