-- reschedule: insert the missing rows of SCHEDULED tasks in `scheduled`. No transition: the state
-- stays the same. Zero rows for an id: it is not SCHEDULED any more, has a row, or is locked by
-- another transaction (the next scan finds it again).
with waiting as (
    select id, run_at, queue, priority from leaseq.tasks
    where id = any(%(ids)s::uuid[]) and state = 'SCHEDULED'
    order by id
    for no key update skip locked
)
insert into leaseq.scheduled (task_id, run_at, queue, priority)
select id, run_at, queue, priority from waiting
on conflict (task_id) do nothing
returning task_id::text
