-- Read whether one task has ended. One row, by the primary key, so that it can be read repeatedly
-- beside a million others.
select exists (select from leaseq.tasks where id = %(task_id)s::uuid and finished_at is not null)
