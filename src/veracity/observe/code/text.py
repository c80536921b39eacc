r"""What a source file's characters hide from its reader.

Characters that change the direction of what follows make code look like a comment (CVE-2021-42574);
invisible ones and letters of other alphabets make two names look alike (CVE-2021-42694); a long blank moves
code out of the window.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
import unicodedata
from dataclasses import dataclass
from itertools import pairwise

DIRECTION = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c"
INVISIBLE = "\u200b\u200c\u200d\u2060\u2061\u2062\u2063\u2064\ufeff\u00ad\u180e\u115f\u1160\u3164\uffa0"
_SUSPECT = re.compile(f"[{DIRECTION}{INVISIBLE}\U000e0000-\U000e007f]")
_OVERRIDES = "\u202d\u202e\u2066\u2067\u2068\u202a\u202b"
_GAP = re.compile(rb"[^\s#][ \t\x0c]{80,}[^\s#\\]")
_FEED = re.compile(rb"\r(?!\n)|\x0b|\x0c|\x1a|\x08|\x1b\[")
_READS_OTHERWISE = re.compile(
    r"utf[-_]?7|(?:raw_)?unicode[-_]escape|punycode|idna|hz|iso2022|cp037|cp500|cp1140"
)
_GREEK = "ΑΒΕΖΗΙΚΜΝΟΡΤΥΧοϳ"
"""Greek letters that look like Latin ones; others are used in formulas."""
MAX_FOUND = 50
MAX_TOKENS = 400_000
_LOOKALIKE = (
    "CYRILLIC",
    "GREEK",
    "ARMENIAN",
    "CHEROKEE",
    "FULLWIDTH",
    "MATHEMATICAL",
    "LISU",
    "COPTIC",
    "DESERET",
)


@dataclass(frozen=True, slots=True)
class Oddity:
    """Something about the characters of a line: ``what`` and ``how``, and the name or character."""

    what: str
    how: str
    name: str
    line: int


def odd_encoding(data: bytes) -> list[Oddity]:
    """An encoding in which letters are read as others: what is seen is not what Python compiles."""
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(data[:4096]).readline)
    except (SyntaxError, LookupError):
        return []
    return [Oddity("encoding", "file", encoding, 1)] if _READS_OTHERWISE.match(encoding) else []


def oddities(data: bytes, text: str) -> list[Oddity]:
    """What there is, in the order of lines; the file is tokenised only when something could be there."""
    if data.isascii():
        if not _GAP.search(data) and not _FEED.search(data):
            return []
    elif not (_SUSPECT.search(text) or _GAP.search(data) or _FEED.search(data) or _has_lookalikes(text)):
        return []
    found: list[Oddity] = []
    end = (0, 0)
    count = 0
    lines = text.splitlines()
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            count += 1
            if count > MAX_TOKENS or len(found) >= MAX_FOUND:
                break
            _look(token, end, found, lines)
            end = token.end
    except (tokenize.TokenError, SyntaxError, IndentationError):
        pass  # the reader of the syntax tree says that the file cannot be parsed
    return found


def _look(token: tokenize.TokenInfo, end: tuple[int, int], found: list[Oddity], lines: list[str]) -> None:
    line = token.start[0]
    if token.type in (tokenize.STRING, tokenize.COMMENT) or token.type == _MIDDLE:
        for character in dict.fromkeys(_SUSPECT.findall(token.string)):
            part = "comment" if token.type == tokenize.COMMENT else "string"
            at = line + token.string[: token.string.index(character)].count("\n")
            found.append(
                Oddity(
                    "direction" if character in DIRECTION else "invisible",
                    _way(character, token.string, part),
                    f"U+{ord(character):04X}",
                    at,
                )
            )
        return
    if token.type == tokenize.NAME and not token.string.isascii():
        scripts = _scripts(token.string)
        if (
            "invisible" in scripts
            or ("LATIN" in scripts and len(scripts) > 1)
            or _becomes_ascii(token.string)
        ):
            found.append(Oddity("lookalike", "name", token.string, line))
    elif token.type == tokenize.ERRORTOKEN and _SUSPECT.search(token.string):
        found.append(Oddity("invisible", "code", f"U+{ord(token.string[0]):04X}", line))
    if (
        end[0] == line
        and token.start[1] - end[1] >= 80
        and token.type not in (tokenize.NEWLINE, tokenize.COMMENT, tokenize.NL, tokenize.ENDMARKER)
    ):
        found.append(Oddity("off-screen", "code", token.string[:80], line))


_MIDDLE = getattr(tokenize, "FSTRING_MIDDLE", -1)


def _way(character: str, text: str, part: str) -> str:
    """``override``: the direction is turned and not turned back within the token, as Trojan source does."""
    if character in _OVERRIDES:
        closed = text.count("\u202c") + text.count("\u2069")
        opened = sum(text.count(one) for one in _OVERRIDES)
        return f"{part}, not closed" if opened > closed else f"{part}, closed"
    return part


def _has_lookalikes(text: str) -> bool:
    return any(ord(character) > 0x2FF for character in set(text))


def _scripts(name: str) -> set[str]:
    """Alphabets of a name's letters."""
    found = set()
    for character in name:
        if character in INVISIBLE or character in DIRECTION:
            found.add("invisible")
        elif character.isalpha():
            first = unicodedata.name(character, "?").partition(" ")[0]
            if first == "GREEK" and character not in _GREEK:
                continue  # as mathematics writes it
            if first in _LOOKALIKE or first == "LATIN":
                found.add(first)
    return found


def _becomes_ascii(name: str) -> bool:
    """Python reads a name in its compatibility form: ``ｅxec`` is ``exec``."""
    normal = unicodedata.normalize("NFKC", name)
    return normal.isascii() and normal != name and len(normal) > 1


def far_right(tree: ast.AST) -> list[Oddity]:
    """Statements that stand behind another on their line, far to the right."""
    found = []
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            for before, after in pairwise(body):
                if before.end_lineno == after.lineno and after.col_offset - before.end_col_offset >= 40:
                    found.append(Oddity("off-screen", "statement", "", after.lineno))
    return found
