"""What a Python process needs beside libfaketime. This folder comes first on its PYTHONPATH."""
