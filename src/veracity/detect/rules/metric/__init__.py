"""Numbers that the program reports of itself against those that were computed."""
