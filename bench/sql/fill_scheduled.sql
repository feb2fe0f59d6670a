-- Many tasks that become due at the same moment, as submitting them leaves them.
with made as (
    insert into leaseq.tasks (id, queue, type, payload, state, max_attempts, timeout_seconds, run_at)
    select
        uuidv7(), 'default', 'noop', json_build_object('order_id', number, 'note', repeat('x', 70)), 'SCHEDULED', 5, 300,
        %(due_at)s
    from generate_series(1, %(count)s) as number
    returning id, run_at, queue, priority
)
insert into leaseq.scheduled (task_id, run_at, queue, priority)
select id, run_at, queue, priority from made
