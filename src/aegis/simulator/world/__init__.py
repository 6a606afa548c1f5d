"""A small physical world for pods to live in: traffic, queues, memory, connections, and what goes wrong."""
