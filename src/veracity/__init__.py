"""Veracity keeps model training true: what ran, whether it obeyed the laws of training, who changed it."""

from .core.protection import protect
from .scan.loading.entry import load

__version__ = "0.1.0"

__all__ = ["__version__", "load", "protect"]
