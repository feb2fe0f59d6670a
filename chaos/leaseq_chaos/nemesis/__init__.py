"""The nemeses, one for each kind of fault, by name in `catalogue.NEMESES`."""
