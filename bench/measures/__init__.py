"""The measurements: each is a coroutine that plays one run of a `Scale`."""
