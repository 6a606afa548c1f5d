"""Causes to typed actions, or to the reason why a person has to look. Pure."""
