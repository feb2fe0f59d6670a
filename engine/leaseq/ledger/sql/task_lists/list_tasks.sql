-- List the tasks of one tenant (of every tenant: null), newest first, one page. The parameter
-- `cursor` is the id after which to look (keyset paging). Payloads and results stay in the table:
-- those of a page could be hundreds of megabytes. The statement follows the primary key and
-- filters, since there is no index on state, on purpose. It looks at most at `rows` tasks, of any
-- tenant and state: where nothing matches, a page of a million tasks would take seconds, again and
-- again. The column `cursor` is the id of the last task that was looked at, on a page that is not
-- full and not the last one; it is null otherwise. One row without a `task_id`: nothing was found.
-- The look for that id is left out (a one-time filter) where the page is full. The order is by `id`
-- of the table: the selected text has no index, and every older task would be sorted for one page.
-- The page itself comes in any order.
with page as materialized (
    select t.*
    from (
        select
            id, tenant, queue, type, state, priority, attempt, retry_count, crash_count, loss_count, max_attempts,
            timeout_seconds, idempotency_key, created_at, run_at, started_at, finished_at, expires_at, cancel_requested_at,
            worker_id, error, progress, hand_back_count, erased_at, key_freed_at, traits, limit_name, concurrency_key,
            unique_key, unique_hold
        from leaseq.tasks
        where %(cursor)s::uuid is null or id < %(cursor)s::uuid
        order by id desc
        limit %(rows)s
    ) as t
    where (%(tenant)s::text is null or t.tenant = %(tenant)s)
        and (%(state)s::text is null or t.state = %(state)s::text)
        and (%(queue)s::text is null or t.queue = %(queue)s::text)
        and (%(type)s::text is null or t.type = %(type)s::text)
    order by t.id desc
    limit %(limit)s
), rest as materialized (
    select id
    from leaseq.tasks
    where (select count(*) from page) < %(limit)s and (%(cursor)s::uuid is null or id < %(cursor)s::uuid)
    order by id desc
    offset %(rows)s - 1
    limit 1
)
select
    (select id::text from rest) as cursor, page.id::text as task_id, tenant, queue, type, state, priority, attempt, retry_count, crash_count, loss_count,
    max_attempts, timeout_seconds, idempotency_key, created_at, run_at, started_at, finished_at, expires_at, cancel_requested_at,
    worker_id, error::text, progress::text, hand_back_count, erased_at, key_freed_at,
    (select json_object_agg(l.name, l.value)::text from leaseq.labels as l where l.task_id = page.id) as labels,
    limit_name, concurrency_key,
    case when traits & 1 = 1 and state = 'SCHEDULED' then (
        select l.due from leaseq.limited as l where l.task_id = page.id
    ) end as in_line,
    unique_key, unique_hold,
    case when unique_key is not null then exists (
        select from leaseq.uniques as u
        where u.tenant = page.tenant and u.type = page.type and u.hold = page.unique_hold and u.key = page.unique_key and u.task_id = page.id
    ) end as has_unique_key
from (select) as one left join page on true
