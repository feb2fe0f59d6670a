-- Find those of these tasks, in any tenant, that have ended or were written since `since`. Waiters
-- and streams poll it, so it returns nothing of a task about which there is nothing to tell.
-- `since` is the `horizon` of an earlier answer: every transaction below it had ended by then, so
-- each row that was written later has it or a later one as `xmin` (null: all of these tasks). Both
-- ages are counted from one number, which is read once in a statement. `version` differs from one
-- version of a row to the next. There is always a row, for the horizon; its id is null where
-- nothing was found. The array of ids stands in a subquery, for the reason in submit_tasks.sql.
select now.horizon, t.id::text, t.state, t.xmin::text as version
from (select pg_snapshot_xmin(pg_current_snapshot())::text as horizon) as now
left join leaseq.tasks as t on t.id = any((select %(ids)s::uuid[])::uuid[]) and (
    t.state in ('SUCCESS', 'FAILED', 'CANCELLED')
    or age(t.xmin) <= (select coalesce(age(%(since)s::xid8::xid), 2147483647))
)
