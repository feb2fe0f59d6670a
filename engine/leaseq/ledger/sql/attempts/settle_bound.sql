-- settle: PROCESSING -> any state, as settle_failed.sql does, of tasks with traits. It is that statement
-- with these changes (statements.py). A task that has ended gives its permit back, and so does one that
-- waits for a time: the row of a task that is PENDING again keeps it, so a lost worker gives nothing
-- back that runs again. In a limit with strict order a task that waits for a time keeps its permit, too,
-- so that no later task of its key overtakes it. Each attempt needs a token of its own, if there is a rate. This statement has locked the task, and every change of the row locks it first. An
-- ending that does not come back was fenced.
--- instead of
        t.tenant, t.finished_at,
--- write
        t.tenant, t.finished_at, t.limit_name,
--- instead of
)
select id::text, attempt, state, queue, priority, crash_count, loss_count, type
from settled
--- write
), freed as (
    delete from leaseq.limited as l
    using settled as s
    where l.task_id = s.id and s.state in ('SUCCESS', 'FAILED', 'CANCELLED')
), returned as (
    update leaseq.limited as l
    set
        admitted_at = case when s.state = 'PENDING' or x.strict then l.admitted_at end,
        due = s.state = 'PENDING', started_at = null
    from settled as s, leaseq.limits as x
    where l.task_id = s.id and x.id = l.limit_id
        and (s.state = 'SCHEDULED' or (s.state = 'PENDING' and l.started_at is not null))
)
select id::text, attempt, state, queue, priority, crash_count, loss_count, type, limit_name
from settled
