-- Delete finished tasks past retention, a batch at a time, oldest first, with their attempts; the keys stay and remember
-- the final state. Walks the primary key: an id is never younger than its finishing. Zero rows: nothing is left to prune.
with old as (
    select id, tenant, idempotency_key, state from leaseq.tasks
    where id < %(before)s::uuid
        and state in ('SUCCESS', 'FAILED', 'CANCELLED')
        and finished_at < now() - make_interval(secs => %(retention)s)
    order by id
    limit %(limit)s
    for update skip locked
), remembered as (
    update leaseq.idempotency_keys k set final_state = old.state
    from old
    where k.tenant = old.tenant and k.key = old.idempotency_key and k.task_id = old.id
), attempts as (
    delete from leaseq.attempts a using old where a.task_id = old.id
)
delete from leaseq.tasks t using old where t.id = old.id returning t.id::text
