"""A bundle with pseudonyms: which entries are withheld, what is shown in their place, and the key apart.

The tree is over entries as they were recorded, so an entry with a name in it is left out of the bundle and
its hash put in: the root, and with it every signature and cosignature, is checked as before. What is shown
in its place is signed by the log's key, and is its word alone until somebody has the key file: with the
names put back, the entry has to give the hash that stands in the tree.

Each entry holds a salt, which is withheld with the names: without it, whoever has a list of names could try
them out against the hash. Of entries that were made before there were salts, only kind, rule and verdict are
shown.
"""

from __future__ import annotations

import base64
import json
import os
import re
import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..core.canonical import Json, decode, encode
from ..core.digest import Digest
from ..core.errors import EvidenceError, UsageError, VerificationError
from ..core.pseudonym import CLASSES, PAYLOAD, SALT, TEXT, Redactor, restored, stands_for, tokens_in
from ..core.quantity import quantity
from .entry import Entry
from .files import write_private
from .keyfiles import read_key_file
from .keys import SigningKey
from .merkle import leaf_hash

MEMBER = "redaction.json"
WITHHELD = b"\0"
"""What a withheld entry begins with in a bundle, before its hash: no JSON does."""
DOMAIN = b"veracity-redaction/v1\n"
SCHEMA = 1
MAX_KEY_FILE = 256 << 20
MAX_SHOWN = 20
PAYLOADS = ("frame", "data", "envelope")
"""Members of an entry's body that name a payload by its digest."""
_WORD = re.compile(r"[^\W\d_]{3,}")
_KEY_BYTES = 32


@dataclass(slots=True)
class KeyFile:
    """The secret of a redaction. ``names``: what pseudonyms stand for.

    ``entries``: withheld entries that are shown in outline only, by the hash they have in the tree. One file
    serves several bundles, which then have the same pseudonyms.
    """

    key: bytes
    names: dict[str, Json] = field(default_factory=dict)
    entries: dict[str, Json] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path) -> KeyFile:
        """Read one.

        Raises UsageError when it is not there or others can read it, EvidenceError when it is malformed.
        """
        value = decode(read_key_file(path, MAX_KEY_FILE).rstrip(b"\n"))
        if not isinstance(value, dict) or value.get("schema") != SCHEMA:
            raise EvidenceError("not the key of a redaction", where=str(path))
        key, names, entries = value.get("key"), value.get("names"), value.get("entries")
        if not isinstance(key, str) or not isinstance(names, dict) or not isinstance(entries, dict):
            raise EvidenceError("not the key of a redaction", where=str(path))
        try:
            raw = base64.b64decode(key, validate=True)
        except ValueError as error:
            raise EvidenceError("not the key of a redaction", where=str(path)) from error
        return cls(raw, names, entries)

    @classmethod
    def load_or_new(cls, path: Path) -> KeyFile:
        """The key file that is there, or a new one that is nowhere yet."""
        if os.path.lexists(path):
            return cls.load(path)
        return cls(secrets.token_bytes(_KEY_BYTES))

    def save(self, path: Path) -> None:
        """Write it, for its owner alone; it is the old one or the new one, never half."""
        key = base64.b64encode(self.key).decode("ascii")
        value: Json = {"schema": SCHEMA, "key": key, "names": self.names, "entries": self.entries}
        write_private(path, encode(value) + b"\n")


@dataclass(slots=True)
class Redaction:
    """Decides what of a record is withheld. Read all entries with ``learn`` before the first is asked for."""

    secret: KeyFile
    signer: SigningKey
    classes: Collection[str]
    redactor: Redactor
    withheld: dict[str, Json] = field(default_factory=dict)
    payloads: set[str] = field(default_factory=set)
    outlined: list[int] = field(default_factory=list)
    seals: dict[str, Json] = field(default_factory=dict)
    _envelopes: dict[str, bytes] = field(default_factory=dict)

    @classmethod
    def of(cls, secret: KeyFile, signer: SigningKey, classes: Collection[str]) -> Redaction:
        """A redaction of these classes of names; raises UsageError for one that is none."""
        unknown = sorted(set(classes) - set(CLASSES))
        if unknown or not classes:
            raise UsageError(
                f"no class of names: {unknown[0][:80]!r}" if unknown else "no class of names is given",
                remedy=f"classes are {', '.join(CLASSES)}; `all` is all of them",
            )
        return cls(secret, signer, classes, Redactor(secret.key, frozenset(classes), our_words()))

    def learn(self, entry: bytes) -> None:
        """Take note of the names in an entry."""
        self.redactor.learn(Entry.decode(entry).body)

    def learn_seal(self, digest: Digest, envelope: bytes) -> None:
        """Take note of the names in a seal, and keep its envelope until its entry is asked for."""
        statement = _statement_in(envelope)
        if statement is not None:
            self._envelopes[str(digest)] = envelope
            self.redactor.learn(statement)

    def keeps(self, body: Mapping[str, Json], payload: bytes) -> bool:
        """Whether a payload goes into the bundle: numbers of a step, in which no name was found."""
        step = body.get("kind") == "step" and "frame" in body
        return step and TEXT not in self.classes and not self.redactor.holds_name(payload)

    def entry(self, index: int, data: bytes, hidden: Collection[str]) -> bytes:
        """What is packed of an entry: all of it, or a zero byte and its hash in the tree.

        ``hidden``: digests of payloads that are withheld.
        """
        found = Entry.decode(data)
        body = {name: value for name, value in found.body.items() if name != SALT}
        shown = self.redactor.redact(body)
        if not isinstance(shown, dict):
            raise EvidenceError(f"entry {index} is no object")
        for name in PAYLOADS:
            digest = body.get(name)
            if isinstance(digest, str) and digest in hidden:
                shown[name] = self.redactor.token(digest, PAYLOAD)
                self.payloads.add(digest)
        if shown == body:
            return data
        if found.kind == "seal":
            self._show_seal(index, str(body.get("envelope")))
        leaf = leaf_hash(data)
        salt = found.body.get(SALT)
        if isinstance(salt, str):
            whole = {"k": found.kind, **shown, SALT: self.redactor.token(salt, SALT)}
            if encode(restored(whole, self.redactor.names)) == data:
                self.withheld[str(index)] = whole
                return WITHHELD + leaf
        self.outlined.append(index)
        self.secret.entries[leaf.hex()] = data.decode("ascii")
        self.withheld[str(index)] = _outline(found)
        return WITHHELD + leaf

    def _show_seal(self, index: int, digest: str) -> None:
        envelope = self._envelopes.get(digest)
        self.seals[str(index)] = None
        if envelope is not None:
            self.seals[str(index)] = self.redactor.redact(_statement_in(envelope))
            self.secret.entries[digest] = envelope.decode("ascii")

    def says(self, size: int) -> list[str]:
        """What is withheld and what nobody can check without the key file, a sentence each."""
        said = [f"names of these kinds stand behind pseudonyms: {', '.join(sorted(self.classes))}"]
        of = f"of {quantity(size, 'entry')}"
        said.append(
            f"{quantity(len(self.withheld), f'{of} is', f'{of} are')} withheld: their hashes stand in the "
            "tree, and what is shown in their place is the word of who signed this until somebody has the "
            "redaction's key file"
        )
        if self.outlined:
            said.append(
                f"{len(self.outlined)} of them are shown in outline only, mostly as they have no salt: "
                "who guesses such a one to its last character can confirm it by its hash"
            )
        if self.payloads:
            said.append(
                f"{quantity(len(self.payloads), 'payload is', 'payloads are')} withheld, and their digests: "
                "what was recorded is not compared with anything here"
            )
        said.append("seal, approvals and policy, identities and sensors beside the record are left out")
        if self.seals:
            said.append(
                "the seal of what ran is withheld, and shown like an entry: who signed it is not checked here"
            )
        return said

    def document(self, head: str, size: int) -> bytes:
        """The member of the bundle, signed; ``head``: the text of the tree head that it belongs to."""
        told: dict[str, Json] = {
            "schema": SCHEMA,
            "head": head,
            "classes": [*sorted(self.classes)],
            "entries": self.withheld,
            "outlined": [*self.outlined],
            "seals": self.seals,
            "payloads": len(self.payloads),
            "says": [*self.says(size)],
        }
        signature = base64.b64encode(self.signer.sign(DOMAIN + encode(told))).decode("ascii")
        return encode({"key": self.signer.verifier.vkey, "redaction": told, "signature": signature}) + b"\n"

    def keep_names(self, path: Path) -> None:
        """Write the key file with all names that were replaced."""
        self.secret.names.update(self.redactor.names)
        self.secret.save(path)


def verify_redaction(document: bytes, entries: Sequence[bytes], secret: KeyFile) -> list[str]:
    """That what is shown in the place of withheld entries is what was recorded, names apart.

    ``document``: the member of a bundle; ``entries``: those of the bundle, with whose hashes the root was
    verified. Returns sentences. Raises VerificationError when an entry is not what is shown of it,
    EvidenceError when the key file is another bundle's.
    """
    told = json.loads(document)["redaction"]
    known = tokens_in([told["entries"], told["seals"]]) & secret.names.keys()
    for token in known:
        if not stands_for(token, secret.names[token], secret.key):
            raise VerificationError(f"{token} does not stand for what the redaction's key file says")
    outlined = set(told["outlined"])
    withheld = {str(at): one[len(WITHHELD) :] for at, one in enumerate(entries) if one.startswith(WITHHELD)}
    if told["entries"].keys() != withheld.keys() or not told["seals"].keys() <= withheld.keys():
        raise VerificationError("more or less is shown than what is withheld")
    for at, leaf in withheld.items():
        shown = told["entries"][at]
        made = _outlined(at, shown, leaf, secret) if int(at) in outlined else _whole(at, shown, leaf, secret)
        if told["seals"].get(at) is not None:
            _verify_seal(at, made, told["seals"][at], secret)
    said = [
        f"{quantity(len(known), 'pseudonym stands', 'pseudonyms stand')} for the names that the redaction's "
        "key file says"
    ]
    said.append(
        f"{quantity(len(withheld), 'withheld entry was', 'withheld entries were')} made whole with it, each "
        "with its hash in the tree"
    )
    persons = [one for one in sorted(known) if one.startswith(("person-", "host-"))]
    return said + [f"{one} stands for {json.dumps(secret.names[one])}" for one in persons[:MAX_SHOWN]]


def _whole(at: str, shown: Json, leaf: bytes, secret: KeyFile) -> Entry:
    data = encode(restored(shown, secret.names))
    if leaf_hash(data) == leaf:
        return Entry.decode(data)
    if tokens_in(shown) - secret.names.keys():
        raise _unknown(at)
    raise VerificationError(f"what is shown in the place of entry {at} is not what was recorded")


def _outlined(at: str, shown: Json, leaf: bytes, secret: KeyFile) -> Entry:
    text = secret.entries.get(leaf.hex())
    if not isinstance(text, str):
        raise _unknown(at)
    data = text.encode("ascii", "replace")
    if leaf_hash(data) != leaf or shown != _outline(Entry.decode(data)):
        raise VerificationError(f"what is shown in the place of entry {at} is not what was recorded")
    return Entry.decode(data)


def _verify_seal(at: str, entry: Entry, shown: Json, secret: KeyFile) -> None:
    """The entry is the one that was recorded, and so is the envelope that it names."""
    digest = str(entry.body.get("envelope"))
    text = secret.entries.get(digest)
    if not isinstance(text, str):
        raise _unknown(at)
    envelope = text.encode("ascii", "replace")
    if str(Digest.of(envelope)) != digest or restored(shown, secret.names) != _statement_in(envelope):
        raise VerificationError(f"the seal that is shown of entry {at} is not what was recorded")


def _statement_in(envelope: bytes) -> Json:
    """What an envelope holds, None when it is none with canonical JSON in it."""
    try:
        return decode(base64.b64decode(json.loads(envelope)["payload"], validate=True))
    except (EvidenceError, LookupError, TypeError, ValueError, RecursionError):
        return None


def _unknown(at: str) -> EvidenceError:
    return EvidenceError(
        f"the redaction's key file does not know all that is withheld of entry {at}",
        remedy="is it the file that was written with this bundle?",
    )


def our_words() -> frozenset[str]:
    """The words that our own source has: a message made of them gives nobody away."""
    words: set[str] = set()
    for path in sorted(Path(__file__).resolve().parents[1].rglob("*.py")):
        words.update(word.casefold() for word in _WORD.findall(path.read_text("utf-8")))
    return frozenset(words)


def _outline(entry: Entry) -> dict[str, Json]:
    """Of an entry without salt what may be shown: enough to follow the record, and no name."""
    shown: dict[str, Json] = {"k": entry.kind}
    for name, kind in (("seq", int), ("outcome", str)):
        value = entry.body.get(name)
        if isinstance(value, kind):
            shown[name] = value
    finding = entry.body.get("finding")
    if isinstance(finding, dict):
        kept: dict[str, Json] = {
            name: finding.get(name) for name in ("rule", "law", "severity", "first_step")
        }
        shown["finding"] = {**kept, "message": "withheld"}
    return shown


def classes_of(text: str) -> Sequence[str]:
    """``user,host`` or ``all`` as classes of names; whether there are such, :meth:`Redaction.of` asks."""
    words = [word.strip() for word in text.split(",") if word.strip()]
    return list(CLASSES) if words == ["all"] else words
