"""Seeded bugs, and the checkers that catch them."""
