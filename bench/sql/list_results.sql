-- What the tasks of one type returned; all must have returned a whole number.
select (result::text)::bigint from leaseq.tasks where type = %(task_type)s and state = 'SUCCESS' order by id
