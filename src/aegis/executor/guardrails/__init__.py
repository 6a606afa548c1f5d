"""What stops an action, whatever anybody decided: checks, which only look, and reservations, which take."""
