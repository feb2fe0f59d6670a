-- Payloads, results and progress of these tasks, in one tenant (in any: null), for a page that masks values
-- in the errors of many tasks. A value of more than `most` bytes is null, and the task not `whole`. A
-- value that is large as it is stored is not even unpacked. Zero rows for an id: there is no such task.
-- The array of ids stands in a subquery, for the reason in submit_tasks.sql.
with small as (
    select
        id, type,
        case when pg_column_size(payload) <= %(most)s::integer then payload::text end as payload,
        case when pg_column_size(result) <= %(most)s::integer then result::text end as result,
        case when pg_column_size(progress) <= %(most)s::integer then progress::text end as progress,
        coalesce(greatest(pg_column_size(payload), pg_column_size(result), pg_column_size(progress)), 0) <= %(most)s::integer as whole
    from leaseq.tasks
    where id = any((select %(ids)s::uuid[])::uuid[]) and (%(tenant)s::text is null or tenant = %(tenant)s)
)
select
    id::text as task_id, type,
    whole and coalesce(greatest(octet_length(payload), octet_length(result), octet_length(progress)), 0) <= %(most)s::integer as whole,
    case when octet_length(payload) <= %(most)s::integer then payload end as payload,
    case when octet_length(result) <= %(most)s::integer then result end as result,
    case when octet_length(progress) <= %(most)s::integer then progress end as progress
from small
