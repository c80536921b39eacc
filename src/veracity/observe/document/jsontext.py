"""JSON as Python's reader takes it, with every doubled key kept.

Bounded: by the size that the caller hands in, by the digits of a number (turning digits into a number takes
time that grows with their square) and by the depth that Python's own reader follows.

Format: RFC 8259; encodings as in Python's ``json.loads``: UTF-8, UTF-16 and UTF-32, with or without a mark.
"""

from __future__ import annotations

import json

from ...core.errors import EvidenceError
from .value import Fields, Value

MAX_DIGITS = 1_000


class NotJsonError(EvidenceError):
    """No reader of JSON takes this text."""


def parse_json(data: bytes | str, where: str) -> Value:
    """The value of a whole text.

    Raises NotJsonError when Python's reader takes it neither, EvidenceError when it is nested deeper than
    that reader follows.
    """
    try:
        text = data if isinstance(data, str) else data.decode(json.detect_encoding(data))
        return _DECODER.decode(text.removeprefix("\ufeff"))  # type: ignore[no-any-return]
    except RecursionError as error:
        raise EvidenceError("is nested deeper than its readers follow", where=where) from error
    except ValueError as error:
        raise NotJsonError(f"is not JSON: {str(error)[:200]}", where=where) from error


def _number(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"a number of {len(digits)} digits")
    return int(digits)


_DECODER = json.JSONDecoder(object_pairs_hook=Fields, parse_int=_number)
