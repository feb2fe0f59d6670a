"""Modules that Python needs beside libfaketime; first on its PYTHONPATH."""
