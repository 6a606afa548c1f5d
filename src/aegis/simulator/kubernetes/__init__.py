"""A Kubernetes API server and its controllers, in memory. Knows nothing of Aegis."""
