"""The HTTP/1.1 server of the API: llhttp parses, everything after that has a bound."""
