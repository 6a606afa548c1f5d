"""What was planned, begun and reported: written before acting, in the Executor's own database."""
