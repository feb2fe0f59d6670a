-- lock tasks: hold the rows of at most `count` tasks that wait or run, the newest first, until the
-- transaction ends.
select id
from leaseq.tasks
where state in ('PENDING', 'PROCESSING')
order by id desc
limit %(count)s
for update skip locked
