"""Rules on what is loaded."""
