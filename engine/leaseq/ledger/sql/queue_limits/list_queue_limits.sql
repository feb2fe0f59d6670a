-- List the queues whose tasks take a limit, with its name. Every process that submits reads it every few
-- seconds (operations/queue_limits.py). Zero rows: all queues are plain.
select queue, limit_name, fair from leaseq.queue_limits where limit_id is not null
