"""Python source read as facts about training, by one walk over its syntax tree."""

from .neighbours import Beside
from .read import read_code

__all__ = ["Beside", "read_code"]
