-- List rows of `limited` for the audit: the next `limit` with a permit after a position, and the next
-- `limit` of all by id. Their tasks are judged by audit_limited.sql. Zero rows: both are at their end.
(
    select x.task_id::text as task_id, x.limit_id, x.tenant, x.key, true as is_admitted
    from leaseq.limited as x
    where x.admitted_at is not null
        and (x.limit_id, x.tenant, x.key, x.task_id) > (%(limit_id)s::integer, %(tenant)s::text, %(key)s::text, %(admitted)s::uuid)
    order by x.limit_id, x.tenant, x.key, x.task_id
    limit %(limit)s
)
union all
(
    select x.task_id::text, x.limit_id, x.tenant, x.key, false
    from leaseq.limited as x
    where x.task_id > %(after)s::uuid
    order by x.task_id
    limit %(limit)s
)
