-- How many tasks ended between two moments. One row.
select count(*) from leaseq.tasks where finished_at >= %(begin)s and finished_at < %(end)s
