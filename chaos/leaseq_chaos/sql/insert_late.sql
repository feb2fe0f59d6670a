-- What a handler writes through a transaction that it has kept.
insert into chaos.late (task_id, attempt) values (%(task_id)s::uuid, %(attempt)s)
