"""A real Kubernetes node on a contributor's machine: built, started, gone without a trace."""
