-- What a transactional handler of the workload leaves behind: one row for the attempt that is to
-- succeed.
insert into chaos.effects (task_id, attempt, type, pid)
values (%(task_id)s::uuid, %(attempt)s, %(type)s, %(pid)s)
