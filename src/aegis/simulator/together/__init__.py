"""All services in one process, on a virtual clock and real PostgreSQL, around a simulated cluster."""
