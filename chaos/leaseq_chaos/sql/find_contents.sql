-- Every mark of a payload that is anywhere in the ledger, with its table.
select table_name, mark from chaos.find_marks() order by table_name, mark
