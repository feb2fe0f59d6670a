-- Replace many changes of the number of unfinished tasks by their sums. Changes that another transaction
-- holds are left for the next time. Zero rows: there were too few of them to replace.
with found as materialized (
    select ctid as place from leaseq.unfinished_counts limit %(most)s for update skip locked
), gone as (
    delete from leaseq.unfinished_counts
    where ctid = any(array(select place from found)) and (select count(*) from found) > %(least)s
    returning tenant, queue, tasks
)
insert into leaseq.unfinished_counts (tenant, queue, tasks)
select tenant, queue, sum(tasks) from gone group by tenant, queue having sum(tasks) <> 0
returning tenant
