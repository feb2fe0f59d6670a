-- Of the tasks of a queue that ended since a moment: how many there are, how many succeeded, and
-- how many at the first attempt; how many seconds lie between the first ending and the last, and
-- between the tenth and the ninetieth of a hundred; when the last was. One row.
with ended as (
    select state, attempt, finished_at
    from leaseq.tasks
    where queue = %(queue)s and finished_at >= %(since)s::timestamptz
), ends as (
    select percentile_disc(array[0, 0.1, 0.9, 1]) within group (order by finished_at) as at
    from ended
)
select
    count(*) as ended,
    count(*) filter (where state = 'SUCCESS') as succeeded,
    count(*) filter (where state = 'SUCCESS' and attempt = 1) as first_attempts,
    coalesce(extract(epoch from (select at[4] - at[1] from ends)), 0)::float8 as seconds,
    coalesce(extract(epoch from (select at[3] - at[2] from ends)), 0)::float8 as middle_seconds,
    max(finished_at) as last_at
from ended
