-- Has one task ended? One row; by the primary key, so that it can be asked again and again beside a
-- million others.
select exists (select from leaseq.tasks where id = %(task_id)s::uuid and finished_at is not null)
