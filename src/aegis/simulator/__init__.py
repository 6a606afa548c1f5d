"""A cluster to break: an API server in memory, and a small physical world for its pods to live in."""
