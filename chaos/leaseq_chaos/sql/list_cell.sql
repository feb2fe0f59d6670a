-- The tasks whose key begins so: how they ended, in which attempts they failed, and in which their
-- effect was committed.
select t.id::text, t.idempotency_key, t.state, t.attempt,
    array(
        select n from leaseq.attempts a, generate_series(a.attempt, a.attempt + coalesce(a.hand_backs, 1) - 1) as n
        where a.task_id = t.id order by n
    ),
    array(select e.attempt from chaos.effects e where e.task_id = t.id order by e.attempt)
from leaseq.tasks t
where starts_with(t.idempotency_key, %(prefix)s)
order by t.id
