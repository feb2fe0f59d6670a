"""Code to copy: an app, a client in Python, one in shell, and a demo."""
