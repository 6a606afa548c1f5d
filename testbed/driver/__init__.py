"""Driving a running testbed and an Aegis on it, for tests and benchmarks."""
