-- Look at the next changes, whole transactions, at least %(at_most)s changes if there are so many:
-- (position, transaction, text).
select (lsn - '0/0')::int8, xid::text::int8, data
from pg_logical_slot_peek_changes(
    'leaseq_chaos', null, %(at_most)s, 'include-timestamp', 'on', 'skip-empty-xacts', 'on'
)
