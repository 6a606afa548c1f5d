"""Incidents to causes: ranked hypotheses with what speaks for them. Pure."""
