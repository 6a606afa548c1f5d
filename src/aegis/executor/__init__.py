"""The one narrow hand: it rehearses, checks, acts, observes, keeps or undoes. Nothing else writes to the cluster."""
