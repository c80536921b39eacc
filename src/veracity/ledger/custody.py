"""Through whose hands a bundle went: lines that are only added to, each signed or marked as a word.

    {"entry":{...},"key":"<vkey>","signature":"<base64>"}

``entry`` names the line before by its digest and all other members of the archive by one. A signature says
that the holder of that key wrote the line, and nothing of whether it is true or whose key it is. Whoever has
the bundle last can leave out lines at the end or write all of them anew: those before have their own copies.
"""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..core.canonical import Json, decode, encode
from ..core.digest import Digest
from ..core.errors import EvidenceError, ResourceLimitError, UsageError, VerificationError
from .keys import PublicKey, SigningKey
from .note import decode_base64

MEMBER = "custody"
PACKED = "packed"
HANDED_ON = "handed on"
MAX_LINES = 64
MAX_CUSTODY = 128 * 1024
MAX_WORD = 500
_DOMAIN = b"veracity-custody/v1\n"
_WORDS = ("did", "by", "host", "to", "note")
_MEMBERS = {"at", "content", "previous", *_WORDS}
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Handling:
    """What somebody did with a bundle: ``by`` an account, on a ``host``, ``at`` so many ns since the epoch.

    ``to`` whom it is handed, and a ``note``, may be empty. All of it is the writer's word. Raises UsageError
    for words that are too long or hold control characters.
    """

    did: str
    by: str
    host: str
    at: int
    to: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        for word in (self.did, self.by, self.host, self.to, self.note):
            if len(word) > MAX_WORD or _CONTROL.search(word):
                raise UsageError(
                    f"not a word for a custody log: {word[:60]!r}",
                    remedy=f"at most {MAX_WORD} characters, on one line",
                )


@dataclass(frozen=True, slots=True)
class Hand:
    """Who adds a line, and the key that signs it; None marks it as their word."""

    handling: Handling
    key: SigningKey | None


@dataclass(frozen=True, slots=True)
class Line:
    """One line as it lies there; ``signer`` is the key that it names, None for somebody's word."""

    handling: Handling
    content: Digest
    previous: str
    signer: PublicKey | None
    signature: bytes
    raw: bytes


def content_of(members: Mapping[str, bytes]) -> Digest:
    """One digest of an archive's members but the custody log: ``members`` has their SHA-256 by name."""
    listed = "".join(f"{members[name].hex()}  {name}\n" for name in sorted(members) if name != MEMBER)
    return Digest.of(listed.encode("ascii"))


def add_line(before: bytes, hand: Hand, content: Digest) -> bytes:
    """The custody log ``before`` with one more line, about ``content``."""
    lines = read_lines(before)
    if len(lines) >= MAX_LINES:
        raise ResourceLimitError(f"a custody log has at most {MAX_LINES} lines")
    handling, key = hand.handling, hand.key
    entry: dict[str, Json] = {
        "at": handling.at,
        "content": str(content),
        "previous": str(Digest.of(lines[-1].raw)) if lines else "",
        **{word: getattr(handling, word) for word in _WORDS},
    }
    line: dict[str, Json] = {"entry": entry}
    if key is None:
        line["self_reported"] = True
    else:
        line["key"] = key.verifier.vkey
        line["signature"] = base64.b64encode(key.sign(_DOMAIN + encode(entry))).decode("ascii")
    return before + encode(line) + b"\n"


def read_lines(data: bytes) -> list[Line]:
    """Take a custody log apart; raises EvidenceError when it is malformed. Verifies nothing."""
    if len(data) > MAX_CUSTODY or data.count(b"\n") > MAX_LINES:
        raise ResourceLimitError("the custody log is too long")
    if data and not data.endswith(b"\n"):
        raise EvidenceError("the custody log is cut off")
    return [_line(number, raw) for number, raw in enumerate(data.split(b"\n")[:-1], 1)]


def verify_custody(data: bytes, content: Digest, keys: Sequence[PublicKey] = ()) -> list[str]:
    """That the lines follow each other, are about this content, and those with a signature were signed.

    ``keys``: those that the verifier knows. Returns a sentence for each line. Raises VerificationError when
    something does not hold, EvidenceError when the log is malformed.
    """
    said: list[str] = []
    previous = ""
    for number, line in enumerate(read_lines(data), 1):
        if line.previous != previous:
            raise VerificationError(f"line {number} of the custody log does not follow the one before it")
        if line.content != content:
            raise VerificationError(
                f"line {number} of the custody log is about other contents",
                remedy="something in the bundle was changed since, or it is another bundle's log",
            )
        whose = "which nobody signed"
        if line.signer is not None:
            entry = decode(line.raw)
            signed = entry["entry"] if isinstance(entry, dict) else None
            line.signer.verify(_DOMAIN + encode(signed), line.signature)
            known = any(line.signer.raw == key.raw for key in keys)
            whose = f"signed by {'the key that you know' if known else 'a key that you did not name'}: "
            whose += line.signer.vkey
        said.append(f"{_told(line.handling)}; {whose}")
        previous = str(Digest.of(line.raw))
    return said


def _told(one: Handling) -> str:
    moment = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(one.at // 1_000_000_000))
    to = f" to {one.to}" if one.to else ""
    note = f" ({one.note})" if one.note else ""
    return f"{one.did}{to} at {moment} by {one.by} on {one.host}{note}, as they say"


def _line(number: int, raw: bytes) -> Line:
    where = f"line {number} of the custody log"
    value = decode(raw)
    if not isinstance(value, dict):
        raise EvidenceError(f"{where} is no object")
    entry, vkey, signature = value.get("entry"), value.get("key"), value.get("signature")
    signed = set(value) == {"entry", "key", "signature"}
    if not signed and (set(value) != {"entry", "self_reported"} or value["self_reported"] is not True):
        raise EvidenceError(f"{where} is neither signed nor marked as somebody's word")
    if not isinstance(entry, dict) or set(entry) != _MEMBERS:
        raise EvidenceError(f"{where} does not say who did what")
    at, content, previous = entry["at"], entry["content"], entry["previous"]
    words = {word: found for word in _WORDS if isinstance(found := entry[word], str)}
    if type(at) is not int or not 0 <= at < 1 << 62 or len(words) != len(_WORDS):
        raise EvidenceError(f"{where} does not say who did what")
    if not isinstance(content, str) or not isinstance(previous, str):
        raise EvidenceError(f"{where} does not say of what it is")
    try:
        handling = Handling(at=at, **words)
    except UsageError as error:
        raise EvidenceError(f"{where}: {error}") from error
    signer = PublicKey.parse(vkey) if signed and isinstance(vkey, str) else None
    if signed and (signer is None or not isinstance(signature, str)):
        raise EvidenceError(f"{where} has no signature")
    value_of = decode_base64(signature) if isinstance(signature, str) else b""
    return Line(handling, Digest.parse(content), previous, signer, value_of, raw)
