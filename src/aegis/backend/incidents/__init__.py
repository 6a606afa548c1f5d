"""Findings that are one problem, from the AI Engine or from somebody's Alertmanager."""
