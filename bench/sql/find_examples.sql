-- A task in the middle of those of each kind, for the paths of single tasks: the name of its place in a
-- path, and its id.
select lower(state) as name, id::text
from (
    select state, id, row_number() over (partition by state order by id) as place
    from (
        select state, id from leaseq.tasks tablesample system (
            least(100, 100.0 * 2000 * 8192 / pg_relation_size('leaseq.tasks'))
        )
    ) as sampled
) as placed
where place = 1
