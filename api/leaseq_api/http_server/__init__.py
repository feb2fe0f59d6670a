"""The HTTP/1.1 server of the API, on llhttp, with a bound on every resource."""
