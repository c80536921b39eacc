"""One spelling per value: the JSON that is hashed and signed.

ASCII bytes, keys sorted, no white space, **no floats** (write ``float.hex()``), string keys in
ASCII only, integers within ±2**63. Two equal values always give the same bytes, in any Python
version, so a digest over them can be recomputed by a third party.
"""

from __future__ import annotations

import json
from typing import TypeAlias

from .errors import EvidenceError

Json: TypeAlias = "None | bool | int | str | list[Json] | dict[str, Json]"

_MAX_DEPTH = 64
_INT_BOUND = 2**63
_TEXTS = frozenset({str})
_NUMBERS = frozenset({int})
_ENCODER = json.JSONEncoder(ensure_ascii=True, sort_keys=True, separators=(",", ":"))


def encode(value: Json) -> bytes:
    """Canonical bytes of ``value``; raises EvidenceError on floats, foreign types, deep nesting."""
    _check(value, 0)
    return _ENCODER.encode(value).encode("ascii")


def decode(data: bytes) -> Json:
    """The value whose canonical encoding is exactly ``data``; raises EvidenceError otherwise."""
    try:
        value: Json = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise EvidenceError(f"not canonical JSON: {error}") from error
    if encode(value) != data:
        raise EvidenceError("JSON is valid but not canonical")
    return value


def _check(value: object, depth: int) -> None:
    kind = type(value)
    if value is None or kind is str or kind is bool:
        return
    if depth > _MAX_DEPTH:
        raise EvidenceError("value is nested too deeply for canonical JSON")
    if isinstance(value, int):
        if not -_INT_BOUND <= value < _INT_BOUND:
            raise EvidenceError("integer out of range for canonical JSON")
    elif isinstance(value, list):
        kinds = set(map(type, value))
        if depth < _MAX_DEPTH and (
            kinds <= _TEXTS or (kinds == _NUMBERS and min(value) >= -_INT_BOUND and max(value) < _INT_BOUND)
        ):
            return  # what most lists are
        for item in value:
            _check(item, depth + 1)
    elif isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str) or not key.isascii():
                raise EvidenceError(f"key is not an ASCII string: {key!r}")
            if type(item) is not str:
                _check(item, depth + 1)
    elif not isinstance(value, str):
        raise EvidenceError(f"{kind.__name__} has no canonical JSON form")
