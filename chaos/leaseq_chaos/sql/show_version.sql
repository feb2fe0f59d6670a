-- The version of the server, as it says it.
show server_version
