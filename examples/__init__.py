"""Code to copy from: an app, a client in Python, a client in shell, and the demo that kills them."""
