-- Count the tasks of each queue and state in a sample of the pages of `tasks`, and keep that as the
-- last census. At most so many pages are read, and a table that has no more of them is read whole.
-- The seed chooses the pages. Zero rows: a census is younger than `rest` seconds, or another
-- transaction takes one now. The lock ends with this transaction, so that a pooler may share the
-- connection. The `counts` have, for each queue and state: the tasks that were found, the sum of
-- the squares of their numbers by page, the number of pages, and the largest number on a page.
-- Tasks of one page were mostly submitted together, so the sample is one of pages and not of tasks.
-- The first four bytes of a `ctid` are its page. Of very many queues those with the most tasks are
-- kept.
with allowed as materialized (
    select not exists (
        select from leaseq.census where at > clock_timestamp() - make_interval(secs => %(rest)s)
    ) and pg_try_advisory_xact_lock(hashtext('leaseq.census'), 0) as yes
), size as materialized (
    select pg_relation_size('leaseq.tasks') / current_setting('block_size')::bigint as pages
), on_pages as (
    select queue, state, count(*) as found
    from leaseq.tasks tablesample system (
        least(
            100,
            100.0 * %(pages)s * current_setting('block_size')::float8 / greatest(pg_relation_size('leaseq.tasks'), 1)
        )
    ) repeatable (%(seed)s)
    where (select yes from allowed)
    group by queue, state, substr(tidsend(ctid), 1, 4)
), counted as (
    select queue, state, sum(found) as found, sum(found * found) as squares, count(*) as pages, max(found) as largest
    from on_pages
    group by queue, state
    order by sum(found) desc, queue, state
    limit 2000
)
insert into leaseq.census (at, pages, of_pages, counts)
select
    clock_timestamp(), least(size.pages, %(pages)s), size.pages,
    coalesce((select json_agg(json_build_array(queue, state, found, squares, pages, largest)) from counted), '[]')
from size
where (select yes from allowed)
on conflict (only_row) do update
set at = excluded.at, pages = excluded.pages, of_pages = excluded.of_pages, counts = excluded.counts
returning at, pages, of_pages, counts::text as counts, 0::float8 as age
