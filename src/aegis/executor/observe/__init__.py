"""What came of an action: is the owner healthy, what do the signals say, and what follows from both."""
