"""The report of a run: one page that a person would rather look at than read."""
