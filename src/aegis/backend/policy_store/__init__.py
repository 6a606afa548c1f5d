"""The policies in force, and every version there ever was."""
