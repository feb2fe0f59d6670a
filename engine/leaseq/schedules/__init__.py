"""When schedules fire, and how missed occurrences are treated."""
