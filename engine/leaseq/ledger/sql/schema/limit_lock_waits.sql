-- From here to the end of this transaction no statement waits longer for a lock. One row, the new
-- limit.
select set_config('lock_timeout', %(milliseconds)s::text, true)
