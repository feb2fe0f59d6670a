-- Replace many changes of the number of dead letters by their sums. Changes that another
-- transaction holds are left for the next time. One row always, never zero rows: the number of
-- changes that were replaced, 0 where there were too few of them.
with found as materialized (
    select ctid as place from leaseq.dead_letter_counts limit %(most)s for update skip locked
), gone as (
    delete from leaseq.dead_letter_counts
    where ctid = any(array(select place from found)) and (select count(*) from found) > %(least)s
    returning tenant, queue, type, letters
), folded as (
    insert into leaseq.dead_letter_counts (tenant, queue, type, letters)
    select tenant, queue, type, sum(letters) from gone group by tenant, queue, type having sum(letters) <> 0
)
select count(*) from gone
