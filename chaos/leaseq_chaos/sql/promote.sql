-- Make a primary of a standby, and return when it is one.
select pg_promote(true, 60)
