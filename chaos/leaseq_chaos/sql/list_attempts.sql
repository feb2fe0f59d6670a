-- Every attempt that did not end in SUCCESS.
select task_id::text as task_id, attempt, outcome, worker_id, next_state from leaseq.attempts order by task_id, attempt
