"""Arguments that are written as text, with the grammar of the C functions that read them.

Each raises ValueError where the unpickler would fail. Where ``pickle.py`` reads more than the C unpickler or
less, what either of them reads is taken.
"""

from __future__ import annotations

import re

# strtol with base 0, as far as it reads to the end of the line; a leading 0 means octal there.
_C_LONG = re.compile(rb"[ \t\v\f\r]*[+-]?(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)\Z")
_OCTAL = re.compile(rb"[ \t\v\f\r]*[+-]?0[0-7]+\Z")
_ESCAPE = re.compile(rb"\\(\n|[\\'\"abfnrtv]|[0-7]{1,3}|x[0-9a-fA-F]{2}|.|\Z)", re.DOTALL)
_NAMED = {
    b"\n": b"",
    b"\\": b"\\",
    b"'": b"'",
    b'"': b'"',
    b"a": b"\a",
    b"b": b"\b",
    b"f": b"\f",
    b"n": b"\n",
    b"r": b"\r",
    b"t": b"\t",
    b"v": b"\v",
}
_MAX_DIGITS = 4300


def integer(line: bytes) -> int:
    """The argument of INT, without its newline: ``00`` and ``01`` are bools."""
    text = _to_nul(line)
    if line and not text:
        return 0  # strtol takes nothing for 0, and what follows the zero byte is not looked at
    value = int(text, 8) if _OCTAL.match(text) else _int(text, 0)
    return bool(value) if len(line) == 2 and value in (0, 1) and _C_LONG.match(text) else value


def long_integer(line: bytes) -> int:
    """The argument of LONG: an ``L`` at the end is usual and not needed."""
    return _int(_to_nul(line[:-1] if line.endswith(b"L") else line), 0)


def index(line: bytes) -> int:
    """The argument of PUT and GET, in decimal."""
    return _int(_to_nul(line), 10)


def real(line: bytes) -> float:
    """The argument of FLOAT."""
    return float(_to_nul(line))


def quoted(line: bytes) -> bytes:
    """The argument of STRING: quotes around it, and the escapes of a bytes literal."""
    if len(line) < 2 or line[0] != line[-1] or line[0] not in b"'\"":
        raise ValueError("the argument of STRING is not in quotes")
    body = line[1:-1]
    return _ESCAPE.sub(_unescaped, body) if b"\\" in body else body


def _unescaped(match: re.Match[bytes]) -> bytes:
    code = match[1]
    if code in _NAMED:
        return _NAMED[code]
    if code[:1] in b"01234567" and code:
        return bytes((int(code, 8) & 255,))
    if len(code) == 3:
        return bytes((int(code[1:], 16),))
    if not code or code == b"x":
        raise ValueError("an escape in the argument of STRING is not complete")
    return b"\\" + code


def _int(text: bytes, radix: int) -> int:
    if len(text) > _MAX_DIGITS:
        raise ValueError("a number has too many digits")
    return int(text, radix)


def _to_nul(line: bytes) -> bytes:
    # C functions take a line that has a zero byte as if it ended there.
    end = line.find(b"\0")
    return line if end < 0 else line[:end]
