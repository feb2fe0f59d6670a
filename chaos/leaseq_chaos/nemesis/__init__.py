"""What breaks things, and heals them again? One kind of fault each; `catalogue.NEMESES` has them all by name."""
