-- The time now, and the task of which this one is a replay (null: of none). Zero rows: there is no
-- such task in this tenant (any: null).
select clock_timestamp() as now, headers ->> 'leaseq-replay-of' as replay_of
from leaseq.tasks
where id = %(task_id)s and (%(tenant)s::text is null or tenant = %(tenant)s)
