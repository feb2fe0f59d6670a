-- Delete admissions that were pushed. Zero rows: another process has deleted them.
delete from leaseq.handoffs where id = any(%(pushed)s::bigint[])
