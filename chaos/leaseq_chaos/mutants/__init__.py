"""Can the suite fail? Bugs that somebody might have written, and which checker caught each."""
