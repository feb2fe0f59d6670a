-- How many tasks succeeded, how many of them at the first attempt, and how many seconds lie between the first and the last
-- ending, and between the tenth and the ninetieth of a hundred. One row.
with ends as (
    select percentile_disc(array[0, 0.1, 0.9, 1]) within group (order by finished_at) as at
    from leaseq.tasks
)
select
    count(*) filter (where state = 'SUCCESS') as succeeded,
    count(*) filter (where state = 'SUCCESS' and attempt = 1) as first_attempts,
    coalesce(extract(epoch from (select at[4] - at[1] from ends)), 0)::float8 as seconds,
    coalesce(extract(epoch from (select at[3] - at[2] from ends)), 0)::float8 as middle_seconds
from leaseq.tasks
