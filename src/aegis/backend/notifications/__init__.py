"""Telling people, once, and surely."""
