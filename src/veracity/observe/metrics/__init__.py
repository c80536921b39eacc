"""Files of metrics, as programs and their loggers write them: each format's readings of logged numbers."""

from .formats import Parser, parser_for
from .number import reading

__all__ = ["Parser", "parser_for", "reading"]
