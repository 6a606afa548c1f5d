"""`aegis …`: one module per noun, and the platform that runs everything on one machine."""
