-- The numbers of dead letters by queue and type that the sums of changes give.
select queue, type, sum(letters)::bigint as letters
from leaseq.dead_letter_counts group by queue, type having sum(letters) <> 0 order by queue, type
