-- Find the oldest admissions that were not pushed in time, at most `limit`, with those of their tasks that
-- no worker has claimed: one row for each lane, or one without a queue where all were claimed. The ids are
-- one text with commas. Zero rows: each admission was pushed.
select h.id, t.queue, t.priority, t.is_suspect, t.limit_name, t.ids
from (
    select id, task_ids from leaseq.handoffs
    where at < clock_timestamp() - make_interval(secs => %(age)s)
    order by id
    limit %(limit)s
) as h
left join lateral (
    select
        t.queue, t.priority, t.crash_count + t.loss_count >= %(suspect)s::integer as is_suspect, t.limit_name,
        string_agg(t.id::text, ',' order by t.id) as ids
    from unnest(h.task_ids) as u (task_id)
    cross join lateral (select * from leaseq.tasks as t where t.id = u.task_id and t.state = 'PENDING' limit 1) as t
    group by t.queue, t.priority, is_suspect, t.limit_name
) as t on true
order by h.id
