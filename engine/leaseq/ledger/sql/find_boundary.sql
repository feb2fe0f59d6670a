-- Which task comes so many tasks after this id, in order of id? Zero rows: there are not that many.
-- Ordered by `t.id`: a bare `id` would be the text that is selected, which has no index, and is sorted by a language's rules.
select t.id::text from leaseq.tasks as t
where t.id >= %(cursor)s::uuid
order by t.id
offset %(limit)s
limit 1
