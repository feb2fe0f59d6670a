-- Read the last attempt of one task that did not succeed. Zero rows: there is none.
select task_id::text, attempt, outcome, worker_id, started_at, finished_at, next_state, error::text, hand_backs
from leaseq.attempts
where task_id = %(task_id)s
order by attempt desc
limit 1
