"""Where observations come from: the only package that talks to Kubernetes and to metrics systems."""
