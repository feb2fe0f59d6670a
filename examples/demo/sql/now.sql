-- The clock of Postgres, by which every time in the ledger is measured.
select clock_timestamp()
