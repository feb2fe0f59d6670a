-- reschedule: give SCHEDULED tasks their rows in `scheduled` back. No transition: the state stays as it is.
-- Zero rows for an id: it is not SCHEDULED any more, or has a row.
with waiting as (
    select id, run_at, queue, priority from leaseq.tasks
    where id = any(%(ids)s::uuid[]) and state = 'SCHEDULED'
    order by id
    for update
)
insert into leaseq.scheduled (task_id, run_at, queue, priority)
select id, run_at, queue, priority from waiting
on conflict (task_id) do nothing
returning task_id::text
