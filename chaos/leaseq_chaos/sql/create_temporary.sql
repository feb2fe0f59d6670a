-- A table that lives as long as its session.
create temporary table meddled (n int)
