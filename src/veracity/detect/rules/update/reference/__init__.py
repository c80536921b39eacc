"""Optimizers that are not torch's, followed by a reference function that a person declared."""
