"""The pictures of a report. Needs matplotlib, which only the extra `bench` brings; nothing that measures imports this."""
