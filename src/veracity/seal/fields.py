"""What signed documents say, field by field: of the kind that it must be, and in its one spelling.

``of`` and ``what`` are named by the EvidenceError that each raises.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping

from ..core.canonical import Json
from ..core.errors import EvidenceError


def text_of(value: Mapping[str, Json], name: str, *, of: str) -> str:
    """The text under ``name``."""
    text = value.get(name)
    if not isinstance(text, str):
        raise EvidenceError(f"{of} has no {name}")
    return text


def number_of(value: Mapping[str, Json], name: str, *, of: str) -> int:
    """The number under ``name``, which is not negative."""
    number = value.get(name)
    if not isinstance(number, int) or isinstance(number, bool) or number < 0:
        raise EvidenceError(f"{of} has no {name}")
    return number


def from_base64(text: str, what: str) -> bytes:
    """The bytes of a base64 text; another spelling of the same bytes is none."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise EvidenceError(f"{what} is not base64") from error
    if base64.b64encode(data).decode("ascii") != text:
        raise EvidenceError(f"{what} is not canonical base64")
    return data
