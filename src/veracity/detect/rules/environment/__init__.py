"""Rules on the environment that a program starts in."""
