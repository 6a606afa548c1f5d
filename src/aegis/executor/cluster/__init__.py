"""Kubernetes, read and written: the one package of the Executor that talks to an API server."""
