-- submit: none -> PENDING, for tasks of one kind without a key, that are due now and do not expire:
-- they share their tenant, queue, type, priority and limits. It has the effect of submit_tasks.sql,
-- and leaves out what such tasks do not need. It inserts all of them or none. Zero rows: their queue
-- is not known yet, and submit_tasks.sql registers it. An id that exists already (the same submission
-- sent again) is an error, 23505, after which submit_tasks.sql inserts the others: a conflict clause
-- would cost a quarter more for each row. It waits for locks as long as the session allows, because
-- it has no key that an open transaction could hold.
-- The array of ids stands in a subquery, for the reason in submit_tasks.sql.
insert into leaseq.tasks (id, tenant, queue, type, payload, headers, state, priority, max_attempts, timeout_seconds)
select
    s.id, %(tenant)s::text, %(queue)s::text, %(type)s::text, s.payload, s.headers, 'PENDING', %(priority)s::smallint,
    %(max_attempts)s::integer, %(timeout_seconds)s::float8
from unnest((select %(ids)s::uuid[]), %(payloads)s::json[], %(headers)s::json[]) as s (id, payload, headers)
where exists (select from leaseq.queues where name = %(queue)s::text)
returning created_at
