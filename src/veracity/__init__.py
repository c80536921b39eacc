"""Veracity keeps model training true: what ran, whether it obeyed the laws of training, who changed it."""

__version__ = "0.1.0"

__all__ = ["__version__"]
