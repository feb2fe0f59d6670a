-- Which roles grant_roles.sql is about, for this transaction: JSON of owner (or null), services (an array) and handler.
select set_config('leaseq.roles', %(roles)s, true)
