"""What a request must show before a route is looked for."""
