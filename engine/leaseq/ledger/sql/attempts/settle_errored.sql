-- settle: PROCESSING -> any state, as settle_attempts.sql does, for a batch in which an attempt has
-- failed. This part is added to it, before its last line (statements.py): it hands each failed attempt
-- that counted to the reaper, which adds it to the failures of its type (count_failures.sql). A batch
-- without a failure has the statement without this part, because even a part that finds nothing costs a
-- lone settle time. The parts of the errors come as arrays of their own, because an error may hold a
-- text that Postgres stores as JSON and cannot read. An ending that does not come back was fenced.
failed as (
    insert into leaseq.uncounted_failures
        (task_id, attempt, tenant, queue, type, fingerprint, code, exception, frame, outcome, worker_id, failed_at)
    -- a batch may hold two endings of one task
    select distinct on (s.id)
        s.id, s.attempt, s.tenant, s.queue, s.type, e.fingerprint, e.code, e.exception, e.frame, s.outcome, s.worker_id,
        clock_timestamp()
    from settled as s
    join unnest(
        %(ids)s::uuid[], %(attempts)s::integer[], %(fingerprints)s::text[], %(codes)s::text[], %(exceptions)s::text[],
        %(frames)s::text[]
    ) as e (id, attempt, fingerprint, code, exception, frame)
        on e.id = s.id and e.attempt = s.attempt
    where e.fingerprint is not null
)
