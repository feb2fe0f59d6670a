-- Name the roles that grant_roles.sql is about, for this transaction: JSON of owner (or null),
-- services (an array) and handler. From here on the transaction waits for a lock for a second at
-- most, because services wait for the locks that it holds meanwhile.
select set_config('leaseq.roles', %(roles)s, true), set_config('lock_timeout', '1s', true)
