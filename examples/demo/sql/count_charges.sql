-- Count the charges of each order.
select order_id, count(*) as times from charges group by order_id
