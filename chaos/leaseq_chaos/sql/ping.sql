-- Check that the server answers. One row, always.
select 1
