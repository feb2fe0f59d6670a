-- Record a step of a bulk operation: where the next one begins, and what this one did. In the
-- transaction that changed the tasks, so that each is changed once. With `ended` the operation is
-- over, and its row in `operations` gets the outcome. `detail` is then added to that row. Zero rows
-- always.
with moved as (
    update leaseq.bulk_operations
    set position = %(position)s, looked = looked + %(looked)s, done = done + %(done)s, refused = refused + %(refused)s,
        refusals = %(refusals)s::json,
        paced_at = greatest(
            least(paced_at, clock_timestamp()) + make_interval(secs => (%(done)s + %(refused)s)::float8 / rate),
            clock_timestamp() - make_interval(secs => greatest(1.0, 1.0 / rate))
        ),
        touched_at = clock_timestamp(), touched_by = %(process)s,
        state = case when %(ended)s then 'done' else state end,
        ended_at = case when %(ended)s then clock_timestamp() end
    where id = %(id)s
    returning id, ended_at
)
update leaseq.operations as o
set outcome = 'done', ended_at = moved.ended_at, detail = (coalesce(o.detail, '{}')::jsonb || %(detail)s::jsonb)::json
from moved
where o.id = moved.id and moved.ended_at is not null and o.outcome = 'unconfirmed'
