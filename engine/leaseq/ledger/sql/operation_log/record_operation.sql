-- Record an operation before it is done. The statement may be sent twice: an id is recorded once.
-- Returns no rows.
insert into leaseq.operations (id, action, target, tenant, key_id, actor)
values (%(id)s, %(action)s, %(target)s, %(tenant)s, %(key_id)s, %(actor)s)
on conflict do nothing
