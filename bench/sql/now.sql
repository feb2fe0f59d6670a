-- The clock of the server. One row.
select clock_timestamp()
