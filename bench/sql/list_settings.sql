-- The settings of the server that decide over durability and speed.
select name, current_setting(name)
from pg_settings
where name in ('server_version', 'fsync', 'synchronous_commit', 'full_page_writes', 'shared_buffers', 'max_wal_size')
