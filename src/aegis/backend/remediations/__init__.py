"""One attempt on one incident, from proposal to verified outcome."""
