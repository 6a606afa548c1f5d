"""Pause and storm: what stops everything."""
