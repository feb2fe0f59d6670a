-- List tasks of one limit: at most `limit` with a permit, and at most `limit` of those that wait for one, each
-- in the order of its index: by tenant and key, and in one line by priority, then by age. From one tenant
-- and key to another, both included. Zero rows: no task between them has this limit.
with listed as materialized (
    select x.*
    from leaseq.limits as l
    cross join lateral (
        (
            select x.task_id, x.tenant, x.key, true as is_admitted, x.admitted_at as at
            from leaseq.limited as x
            where x.limit_id = l.id and x.admitted_at is not null
                and (x.tenant, x.key) >= (%(from_tenant)s::text, %(from_key)s::text)
                and (x.tenant, x.key) <= (%(to_tenant)s::text, %(to_key)s::text)
            order by x.tenant, x.key, x.task_id
            limit %(limit)s
        )
        union all
        (
            select x.task_id, x.tenant, x.key, false, x.since
            from leaseq.limited as x
            where x.limit_id = l.id and x.admitted_at is null and x.due
                and (x.tenant, x.key) >= (%(from_tenant)s::text, %(from_key)s::text)
                and (x.tenant, x.key) <= (%(to_tenant)s::text, %(to_key)s::text)
            order by x.tenant, x.key, x.priority desc, x.task_id
            limit %(limit)s
        )
    ) as x
    where l.name = %(name)s::text
)
select
    listed.task_id::text, listed.tenant, listed.key, listed.is_admitted, listed.at, t.state, t.type, t.queue, t.priority
from listed
cross join lateral (
    select t.state, t.type, t.queue, t.priority from leaseq.tasks as t where t.id = listed.task_id limit 1
) as t
order by listed.is_admitted desc, listed.tenant, listed.key, t.priority desc, listed.task_id
