"""Python source read as facts about training, by one walk over its syntax tree."""

from .read import read_code

__all__ = ["read_code"]
