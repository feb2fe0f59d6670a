-- The tenants that have a quota; the UTC day and the seconds that are left of it, by the clock of
-- Postgres; and whether unfinished tasks of any tenant are listed. One row with a null name: no tenant
-- has a quota.
select
    t.name, t.unfinished, t.unfinished_per_queue, t.payload_bytes_per_day, today.day,
    extract(epoch from (today.day + 1)::timestamp at time zone 'UTC' - today.now)::float8 as seconds_left,
    exists (select from leaseq.unfinished_tasks) as any_listed
from (select now(), (now() at time zone 'UTC')::date as day) as today
left join leaseq.tenants as t
    on t.unfinished is not null or t.unfinished_per_queue is not null or t.payload_bytes_per_day is not null
