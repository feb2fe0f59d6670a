-- Correct the next times of schedules that are still as they were read. Zero rows for one: it has
-- changed since, or another transaction has it locked. One that is locked keeps its next time, and the
-- times after that one are right.
with changed as materialized (
    select *
    from unnest(
        (select %(tenants)s::text[]), %(names)s::text[], %(revisions)s::uuid[], %(wases)s::timestamptz[], %(nexts)s::timestamptz[],
        %(dues)s::timestamptz[]
    ) as c (tenant, name, revision, was, next, due)
), mine as materialized (
    select s.tenant, s.name, c.next, c.due
    from changed as c
    join leaseq.schedules as s on s.tenant = c.tenant and s.name = c.name
    where s.next_at = c.was and s.revision = c.revision
    for update of s skip locked
)
update leaseq.schedules as s
set next_at = m.next, due_at = m.due, revision = gen_random_uuid()
from mine as m
where s.tenant = m.tenant and s.name = m.name
returning s.name
