"""The demo: stories that break a cluster, and whether Aegis ended each as it must. Stories are files, not code."""
