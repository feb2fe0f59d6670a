-- Count the dead letters of a tenant (of every tenant: null) by queue and type, the most first, at most
-- so many pairs, and in each row the number of all. Reads sums and no tasks. Zero rows: there are none.
select queue, type, sum(letters)::bigint as count, (sum(sum(letters)) over ())::bigint as total
from leaseq.dead_letter_counts
where %(tenant)s::text is null or tenant = %(tenant)s::text
group by queue, type
having sum(letters) > 0
order by sum(letters) desc, queue, type
limit %(limit)s
