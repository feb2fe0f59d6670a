-- Delete unique keys whose task was pruned or erased before, and whose period has ended since, at most
-- `limit`. A row that another transaction has locked is being taken by another task, and stays. Zero rows:
-- there is none.
with old as materialized (
    select ctid as place from leaseq.uniques
    where final_state is not null and until < now()
    order by until
    limit %(limit)s
    for update skip locked
)
delete from leaseq.uniques
where ctid = any(array(select place from old))
returning key
