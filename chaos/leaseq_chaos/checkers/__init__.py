"""The checkers, one for each invariant, by name in `catalogue.CHECKERS`."""
