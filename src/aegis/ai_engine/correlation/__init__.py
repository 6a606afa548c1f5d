"""Findings to incidents: what is one problem, by topology and time. Pure."""
