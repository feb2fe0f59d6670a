"""The dashboard at /ui: pages for people, made by the API process."""
