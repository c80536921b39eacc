"""Names replaced by pseudonyms, in values as canonical JSON has them, and put back again.

A pseudonym is a label and 64 bits of HMAC-SHA-256 over the class and the name: ``person-3f2a…``. So one key
gives one name one pseudonym everywhere, and nobody without the key can try names out. Three things decide
what is replaced: in which field a value stands; whether a word was met as a name anywhere in the record;
and, in free text, whether it is a word that we use ourselves. The last one turns the question round: any
other word is taken for somebody's name.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

from .canonical import Json, encode
from .errors import EvidenceError

USER, HOST, PATH, COMMAND, ENVIRONMENT, TEXT = "user", "host", "path", "command", "environment", "text"
CLASSES = (USER, HOST, PATH, COMMAND, ENVIRONMENT, TEXT)
SALT = "salt"
PAYLOAD = "payload"
LABELS = {
    USER: "person",
    HOST: "host",
    PATH: "path",
    COMMAND: "command",
    ENVIRONMENT: "value",
    TEXT: "word",
    SALT: "salt",
    PAYLOAD: "payload",
}
FIELDS = {
    **dict.fromkeys(("user", "uid", "owner", "override_by", "by", "account", "author", "email"), USER),
    **dict.fromkeys(("host", "node", "named", "machine", "hostname", "sockets"), HOST),
    **dict.fromkeys(("path", "paths", "folder", "file", "directory", "executable", "prefix"), PATH),
    **dict.fromkeys(("cached", "captured", "policy_file", "outside", "via_path", "target", "caller"), PATH),
    **dict.fromkeys(("command", "argv", "program", "tracer"), COMMAND),
    **dict.fromkeys(("environment", "environ", "ids", "numerics", "warn_options"), ENVIRONMENT),
}
"""Members of an entry, at any depth, whose whole value is a name of that class."""
MIN_KEY = 16
_HEX = 16
_TOKEN = re.compile(rf"(?:{'|'.join(sorted(LABELS.values()))})-[0-9a-f]{{{_HEX}}}")
# Digests, floats in hexadecimal, our own ids and formats, and the kernel as a source give nobody away.
_OURS = re.compile(
    r"(?:sha256:)?[0-9a-f]{40,128}|-?0x[01]\.[0-9a-f]*p[+-][0-9]+|/proc"
    r"|(?:run|seal|case)-[0-9]{8}-[0-9]{6}-[0-9a-f]{6}"
    r"|https://(?:in-toto\.io|veracity\.example)/[A-Za-z0-9./-]+"
)
_CHUNK = re.compile(r"[^\s'\"`()\[\]{}<>,;:=|!?…]+")
_PIECE = re.compile(r"[^\W_]+")
_WORD = re.compile(r"[^\W\d_]{3,}")
_ACCOUNT = re.compile(r"\b(uid|user id|user|account) ([0-9]{1,10})\b")
_NUMBER = 5
MAX_SEEN = 100_000
_SHORT = 3
"""Names shorter than this are replaced where they stand alone as a field's value, and nowhere in a text."""


@dataclass(slots=True)
class Redactor:
    """Replaces names of these ``classes``.

    ``key``: at least 16 bytes. ``ours``: words, in lower case, that give nobody away. ``names`` fills with
    what each pseudonym stands for. Raises EvidenceError for a short key or an unknown class.
    """

    key: bytes
    classes: Collection[str]
    ours: Collection[str]
    names: dict[str, Json] = field(default_factory=dict)
    _known: dict[str, str] = field(default_factory=dict)
    _spelled: re.Pattern[str] | None = None
    _strong: set[str] = field(default_factory=set)
    _seen: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        unknown = sorted(set(self.classes) - set(CLASSES))
        if unknown or len(self.key) < MIN_KEY:
            raise EvidenceError(f"no class of names: {unknown[0]!r}" if unknown else "the key is too short")

    # --- learning ----------------------------------------------------------------------------------------

    def learn(self, value: Json, kind: str = "") -> None:
        """Take note of the names in the fields of ``value``, so that they are known in texts as well.

        What was replaced before is not looked at again: learn all there is first.
        """
        if isinstance(value, dict):
            for name, inner in value.items():
                self.learn(inner, FIELDS.get(name, kind))
        elif isinstance(value, list):
            for inner in value:
                self.learn(inner, kind)
        elif isinstance(value, str) and kind in self.classes:
            self._learned(value, kind)

    def know(self, names: Iterable[str], kind: str) -> None:
        """Take these for names of a class, whatever they look like, and inside of longer words, too."""
        if kind in self.classes:
            for name in names:
                if len(name) >= _SHORT and name.casefold() not in self.ours:
                    self._known[name.casefold()] = kind
                    self._strong.add(name)
            self._spelled = None
            self._seen.clear()

    def _learned(self, text: str, kind: str) -> None:
        if _OURS.fullmatch(text) or text.isdecimal():
            return
        if kind in (USER, HOST):
            self.know([text, *([text.partition(".")[0]] if kind == HOST else [])], kind)
        elif kind in (PATH, COMMAND):
            for piece in _PIECE.findall(text):
                self._note(piece, kind)
            for chunk in _CHUNK.findall(text):
                for component in chunk.split("/"):
                    self._note(component, kind)

    def _note(self, word: str, kind: str) -> None:
        """A part of a path or a command; words that are everybody's are no names."""
        strange = any(one.casefold() not in self.ours for one in _WORD.findall(word))
        if strange and not word.isdecimal():
            self._known.setdefault(word.casefold(), kind)

    # --- replacing ---------------------------------------------------------------------------------------

    def redact(self, value: Json, kind: str = "") -> Json:
        """``value`` with its names replaced; the same value when there are none."""
        if isinstance(value, dict):
            if kind in self.classes and kind != ENVIRONMENT:
                return self.token(value, kind)
            return {self.text(name): self._member(name, inner, kind) for name, inner in value.items()}
        if kind == COMMAND and kind in self.classes and value not in ([], ""):
            return self.token(value, kind)
        if isinstance(value, list):
            return [self.redact(inner, kind) for inner in value]
        if self._is_name(value, kind):
            return self.token(value, kind)
        return self.text(value) if isinstance(value, str) else value

    def _is_name(self, value: Json, kind: str) -> bool:
        """Whether a value in a field of class ``kind`` is a name; numbers are those of accounts at most."""
        if kind not in self.classes or isinstance(value, bool) or value in ("", None):
            return False
        if isinstance(value, str):
            return _OURS.fullmatch(value) is None
        return kind in (USER, ENVIRONMENT)

    def _member(self, name: str, inner: Json, kind: str) -> Json:
        own = FIELDS.get(name, kind)
        if name == "target" and isinstance(inner, str) and "/" not in inner:
            own = HOST  # of a socket; of a file it is a path
        return self.redact(inner, own)

    def text(self, text: str) -> str:
        """Free text with its names replaced."""
        seen = self._seen.get(text)
        if seen is None:
            seen = self._replaced(text)
            if len(self._seen) < MAX_SEEN:
                self._seen[text] = seen
        return seen

    def _replaced(self, text: str) -> str:
        if _OURS.fullmatch(text):
            return text
        if USER in self.classes:
            text = _ACCOUNT.sub(lambda found: f"{found[1]} {self.token(found[2], USER)}", text)
        # Paths first: a name inside of one would leave a pseudonym within what another one stands for.
        text = _outside_tokens(text, lambda part: _CHUNK.sub(self._chunk, part))
        spelled = self._spelling()
        if spelled is not None:
            text = _outside_tokens(text, lambda part: spelled.sub(self._strongly, part))
        return text

    def token(self, value: Json, kind: str) -> str:
        """The pseudonym of a name."""
        said = pseudonym(self.key, value, kind)
        self.names[said] = value
        return said

    def holds_name(self, data: bytes) -> bool:
        """Whether a name that was met, or something like a path, stands in ``data`` as it is."""
        spelled = self._spelling()
        if spelled is not None and spelled.search(data.decode("utf-8", "replace")):
            return True
        return PATH in self.classes and _PATH_BYTES.search(data) is not None

    def _spelling(self) -> re.Pattern[str] | None:
        """Finds the names that are known for sure, in any spelling of theirs."""
        if self._spelled is None and self._strong:
            longest = sorted(self._strong, key=lambda name: (-len(name), name))
            self._spelled = re.compile("|".join(map(self._bounded, longest)), re.IGNORECASE)
        return self._spelled

    def _bounded(self, name: str) -> str:
        """A name inside of one of our words is not meant, and what is left of the word would tell it."""
        inside = any(name.casefold() in word for word in self.ours)
        return rf"(?<![^\W_]){re.escape(name)}(?![^\W_])" if inside else re.escape(name)

    def _strongly(self, found: re.Match[str]) -> str:
        return self.token(found[0], self._known.get(found[0].casefold(), USER))

    def _chunk(self, found: re.Match[str]) -> str:
        chunk = found[0]
        if _OURS.fullmatch(chunk):
            return chunk
        if PATH in self.classes and "/" in chunk and self._is_path(chunk):
            return self.token(chunk, PATH)
        kind = self._known.get(chunk.casefold())
        if kind is not None:
            return self.token(chunk, kind)
        return _PIECE.sub(self._piece, chunk)

    def _is_path(self, chunk: str) -> bool:
        return chunk[0] in "/~." or not all(word.casefold() in self.ours for word in _WORD.findall(chunk))

    def _piece(self, found: re.Match[str]) -> str:
        piece = found[0]
        kind = self._known.get(piece.casefold())
        if kind is not None:
            return self.token(piece, kind)
        if TEXT not in self.classes:
            return piece
        # Letters and digits in one are the number of somebody or something, unless the letters are a word.
        if len(piece) >= _NUMBER and not piece.isdecimal() and not _WORD.search(piece):
            return self.token(piece, TEXT)
        return _WORD.sub(self._word, piece)

    def _word(self, found: re.Match[str]) -> str:
        word = found[0]
        return (
            word if word.casefold() in self.ours else self.token(word, self._known.get(word.casefold(), TEXT))
        )


_PATH_BYTES = re.compile(rb"/[\w.+-]{2,}/[\w.+-]")


def pseudonym(key: bytes, value: Json, kind: str) -> str:
    """The pseudonym that ``key`` gives to a name of class ``kind``."""
    said = hmac.new(key, kind.encode() + b"\n" + encode(value), hashlib.sha256).hexdigest()
    return f"{LABELS[kind]}-{said[:_HEX]}"


def tokens_in(value: Json) -> set[str]:
    """All pseudonyms in a value."""
    if isinstance(value, dict):
        return {one for name, inner in value.items() for one in (*_TOKEN.findall(name), *tokens_in(inner))}
    if isinstance(value, list):
        return {one for inner in value for one in tokens_in(inner)}
    return set(_TOKEN.findall(value)) if isinstance(value, str) else set()


def restored(value: Json, names: Mapping[str, Json]) -> Json:
    """``value`` with each pseudonym replaced by its name; those that ``names`` does not know stay."""
    if isinstance(value, dict):
        return {_spelled_out(name, names): restored(inner, names) for name, inner in value.items()}
    if isinstance(value, list):
        return [restored(inner, names) for inner in value]
    if not isinstance(value, str):
        return value
    return names[value] if value in names and _TOKEN.fullmatch(value) else _spelled_out(value, names)


def stands_for(token: str, value: Json, key: bytes) -> bool:
    """Whether ``key`` gives this pseudonym to this name, in one of the classes."""
    return any(
        pseudonym(key, value, kind) == token for kind, label in LABELS.items() if token.startswith(label)
    )


def _outside_tokens(text: str, change: Callable[[str], str]) -> str:
    """``text`` changed everywhere but in its pseudonyms."""
    parts = _TOKEN.split(text)
    tokens = [*_TOKEN.findall(text), ""]
    return "".join(change(part) + token for part, token in zip(parts, tokens, strict=True))


def _spelled_out(text: str, names: Mapping[str, Json]) -> str:
    def name_of(found: re.Match[str]) -> str:
        name = names.get(found[0], found[0])
        return name if isinstance(name, str) else str(name)

    return _TOKEN.sub(name_of, text)
