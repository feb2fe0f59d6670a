-- Tasks of one tenant, newest first, one page; `cursor` is the last id of the page before (keyset paging). Payloads and results
-- are left where they are: a page of them could be hundreds of megabytes.
-- Walks the primary key and filters: cheap for recent tasks, slow for a rare state far back (no index on state, on purpose).
-- Ordered by `tasks.id`: a bare `id` would be the text that is selected, and every older task would be sorted for one page.
select
    id::text, tenant, queue, type, state, priority, attempt, retry_count, crash_count, loss_count, max_attempts,
    timeout_seconds, idempotency_key, created_at, run_at, started_at, finished_at, expires_at, cancel_requested_at,
    worker_id, error::text, progress::text, hand_back_count
from leaseq.tasks
where tenant = %(tenant)s
    and (%(cursor)s::uuid is null or id < %(cursor)s::uuid)
    and (%(state)s::text is null or state = %(state)s::text)
    and (%(queue)s::text is null or queue = %(queue)s::text)
    and (%(type)s::text is null or type = %(type)s::text)
    and (%(key)s::text is null or id in (
        select task_id from leaseq.idempotency_keys where tenant = %(tenant)s and key = %(key)s::text
    ))
order by tasks.id desc
limit %(limit)s
