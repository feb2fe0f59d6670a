-- Find the queues whose limit is not yet that of all their tasks, and the position of each. The second
-- walk begins `grace` seconds after the change: by then every process that submits knows it. Zero rows:
-- there are none.
select queue, walks, walked::text as walked
from leaseq.queue_limits
where walks > 0 and (walks > 1 or changed_at < clock_timestamp() - make_interval(secs => %(grace)s))
order by walks desc, walked
