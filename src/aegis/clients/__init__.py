"""How one service calls another: HTTP with its contracts, and errors translated once."""
