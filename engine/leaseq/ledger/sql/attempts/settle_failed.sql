-- settle: PROCESSING -> FAILED and any other state, as settle_errored.sql does, for a batch in which an
-- ending makes its task FAILED. These parts are added to it, before its last line (statements.py): they
-- list and count each task that has become FAILED, so a task and its row are written by one statement,
-- hence in one transaction. A batch without a FAILED has the statement without them, because even parts
-- that find nothing cost a lone settle time. A row may be there already where a process of an older
-- version has redriven the task; it is replaced. The codes of the errors come as an array of their own,
-- because an error may hold a text that Postgres stores as JSON and cannot read. An ending that does not come back was fenced.
dead as (
    insert into leaseq.dead_letters (task_id, tenant, queue, type, failed_at, code, fingerprint)
    -- a batch may hold two endings of one task
    select distinct on (s.id) s.id, s.tenant, s.queue, s.type, s.finished_at, e.code, e.fingerprint
    from settled as s
    join unnest(%(ids)s::uuid[], %(attempts)s::integer[], %(codes)s::text[], %(fingerprints)s::text[]) as e (id, attempt, code, fingerprint)
        on e.id = s.id and e.attempt = s.attempt
    where s.state = 'FAILED'
    on conflict (task_id) do update
    set failed_at = excluded.failed_at, code = excluded.code, fingerprint = excluded.fingerprint
    -- an inserted row has no xmax
    returning tenant, queue, type, (xmax = 0)::integer as inserted
), dead_counted as (
    insert into leaseq.dead_letter_counts (tenant, queue, type, letters)
    select tenant, queue, type, sum(inserted) from dead group by tenant, queue, type having sum(inserted) > 0
)
