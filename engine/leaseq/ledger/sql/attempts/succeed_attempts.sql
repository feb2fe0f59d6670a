-- settle: PROCESSING -> SUCCESS, for the attempts of one worker that succeeded. It has the fence and
-- the effect of settle_attempts.sql, which settles every other ending. It leaves out what a success
-- does not need: a success never waits, keeps its counts, and has no row in `leaseq.attempts`. A
-- cancel request that came in the meantime does not change it. A row that does not come back was
-- fenced. `before` and `worker_id` are columns and not constants for the reason in claim_tasks.sql.
-- The array of ids stands in a subquery, for the reason in submit_tasks.sql.
with endings as materialized (
    select *, 'PROCESSING' as before, %(worker_id)s as worker_id
    from unnest((select %(ids)s::uuid[]), %(attempts)s::integer[], %(results)s::json[]) as e (id, attempt, result)
)
update leaseq.tasks as t
set state = 'SUCCESS', finished_at = clock_timestamp(), worker_id = null, result = e.result, error = null
from endings as e
where t.id = e.id and t.state = e.before and t.attempt = e.attempt and t.worker_id = e.worker_id
returning t.id::text
