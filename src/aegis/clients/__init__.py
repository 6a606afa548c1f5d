"""How one service calls another, with its contracts and errors translated once; and the way to the cluster."""
