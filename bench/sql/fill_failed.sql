-- Tasks that have failed, with an attempt and a dead letter each, in the queues and types of
-- fill_pages.sql. They are older than all others.
with failed as (
    insert into leaseq.tasks (
        id, queue, type, payload, state, attempt, retry_count, max_attempts, timeout_seconds,
        created_at, run_at, started_at, finished_at, error
    )
    select
        uuidv7(-age), 'queue-' || floor(20 * random() ^ 3), 'type-' || number %% 50,
        json_build_object('order_id', number, 'note', repeat('x', 70)), 'FAILED', 5, 5, 5, 300,
        now() - age, now() - age, now() - age + interval '2 ms', now() - age + interval '5 ms',
        json_build_object('code', 'error', 'message', 'it did not work')
    from (
        select number, make_interval(secs => 3600 * (70 - 2 * number::float8 / %(count)s)) as age
        from generate_series(1, %(count)s) as number
    ) as old
    returning id, tenant, queue, type, started_at, finished_at, error
), attempts as (
    insert into leaseq.attempts (task_id, attempt, outcome, worker_id, started_at, finished_at, next_state, error)
    select id, 5, 'errored', 'bench', started_at, finished_at, 'FAILED', error from failed
), letters as (
    insert into leaseq.dead_letters (task_id, tenant, queue, type, failed_at, code)
    select id, tenant, queue, type, finished_at, 'error' from failed
)
insert into leaseq.dead_letter_counts (tenant, queue, type, letters)
select tenant, queue, type, count(*) from failed group by tenant, queue, type
