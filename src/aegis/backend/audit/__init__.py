"""What everybody did, in a chain that anybody can verify."""
