"""Aegis on one machine: real PostgreSQL and Redis from wheels, the services as processes, a cluster to look after."""
