"""One file for each measurement: a coroutine that takes a `Scale`, plays one run, and returns its readings."""
