-- Does the server answer at all? One row, always.
select 1
