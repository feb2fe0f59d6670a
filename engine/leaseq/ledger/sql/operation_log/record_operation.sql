-- Record an operation before it is done. The statement may be sent twice: an id is recorded once.
-- Returns the id. Zero rows: it was recorded before, by this statement, or under the id of the
-- request.
insert into leaseq.operations (id, action, target, tenant, key_id, actor, request_id)
values (%(id)s, %(action)s, %(target)s, %(tenant)s, %(key_id)s, %(actor)s, %(request_id)s::uuid)
on conflict do nothing
returning id::text
