-- How often was each order charged?
select order_id, count(*) as times from charges group by order_id
