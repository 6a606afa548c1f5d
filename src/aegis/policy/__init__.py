"""What the organisation allows: rules, and the pure function that decides by them."""
