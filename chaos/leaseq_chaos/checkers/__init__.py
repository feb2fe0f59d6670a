"""Was every promise kept? One invariant each; `catalogue.CHECKERS` has them all by name."""
