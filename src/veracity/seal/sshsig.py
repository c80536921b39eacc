"""SSH signatures: what ``ssh-keygen -Y sign`` writes and ``ssh-keygen -Y verify`` takes, with Ed25519 keys.

Format: PROTOCOL.sshsig of OpenSSH, version 1. What is signed is the digest of the message together with a
namespace, so that a signature made for one purpose does not pass for another. Strings are lengths of four
bytes and bytes; the whole stands as base64 between two lines.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

from ..core.errors import EvidenceError, VerificationError
from ..ledger.keys import PublicKey
from .fields import from_base64

NAMESPACE = "veracity-seal"
"""What seals are signed under: ``-n veracity-seal``."""
KIND = b"ssh-ed25519"
MAX_SIGNATURE = 16 * 1024
MAX_LINE = 16 * 1024
_MAGIC = b"SSHSIG"
_VERSION = 1
_BEGIN, _END = "-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----"
_WIDTH = 70
_DIGESTS: dict[bytes, Callable[[bytes], bytes]] = {
    b"sha256": lambda data: hashlib.sha256(data).digest(),
    b"sha512": lambda data: hashlib.sha512(data).digest(),
}


@dataclass(frozen=True, slots=True)
class SshPublicKey:
    """An Ed25519 key as it stands in ``id_ed25519.pub``, for signatures in one namespace."""

    raw: bytes
    namespace: str = NAMESPACE
    _key: PublicKey = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # The check for points under which a signature proves nothing is that of all other keys.
        object.__setattr__(self, "_key", PublicKey("ssh", self.raw))

    @classmethod
    def parse(cls, text: str) -> SshPublicKey:
        """Read a line ``ssh-ed25519 base64 comment``.

        Raises EvidenceError when it is none, VerificationError for a key that proves nothing.
        """
        words = text[:MAX_LINE].split()
        if len(words) < 2 or "\n" in text.strip():
            raise EvidenceError("not an SSH public key: one line `ssh-ed25519 …` is expected")
        if words[0] != KIND.decode("ascii"):
            raise EvidenceError(f"an SSH key of kind {words[0][:40]!r}: only ssh-ed25519 is taken")
        return cls(raw_of(from_base64(words[1], "the SSH public key")))

    @property
    def blob(self) -> bytes:
        """The key as SSH sends it."""
        return blob_of(self.raw)

    @property
    def name(self) -> str:
        """Its fingerprint, as ``ssh-keygen -l`` prints it."""
        digest = hashlib.sha256(self.blob).digest()
        return "SHA256:" + base64.b64encode(digest).decode("ascii").rstrip("=")

    @property
    def line(self) -> str:
        """``ssh-ed25519 base64``."""
        return f"{KIND.decode('ascii')} {base64.b64encode(self.blob).decode('ascii')}"

    def verify(self, message: bytes, signature: bytes) -> None:
        """Check an armored signature over ``message``.

        Raises EvidenceError when it is none, VerificationError when it is another key's or namespace's or
        does not hold.
        """
        key, namespace, algorithm, value = _opened(signature)
        if key != self.blob:
            raise VerificationError(f"signed with another SSH key than {self.name}")
        if namespace != self.namespace.encode("ascii"):
            raise VerificationError(
                f"signed for another purpose: {namespace[:80].decode('ascii', 'backslashreplace')!r}, "
                f"not {self.namespace!r}"
            )
        try:
            self._key.verify(_to_sign(namespace, algorithm, message), value)
        except VerificationError as error:
            raise VerificationError(f"the signature of {self.name} does not hold") from error


class SshSigner:
    """Signs with an SSH key that a file or an agent holds."""

    __slots__ = ("_sign", "_verifier")

    def __init__(self, verifier: SshPublicKey, sign: Callable[[bytes], bytes]) -> None:
        """``sign`` gives the 64 bytes of Ed25519 over what it is given."""
        self._verifier = verifier
        self._sign = sign

    @property
    def verifier(self) -> SshPublicKey:
        """The public key."""
        return self._verifier

    def sign(self, message: bytes) -> bytes:
        """The armored signature over ``message``; raises VerificationError when whoever made it erred."""
        namespace = self._verifier.namespace.encode("ascii")
        value = self._sign(_to_sign(namespace, b"sha512", message))
        blob = b"".join(
            (
                _MAGIC,
                _VERSION.to_bytes(4, "big"),
                *map(packed, (self._verifier.blob, namespace, b"", b"sha512", packed(KIND) + packed(value))),
            )
        )
        text = base64.b64encode(blob).decode("ascii")
        lines = [text[at : at + _WIDTH] for at in range(0, len(text), _WIDTH)]
        armored = "\n".join((_BEGIN, *lines, _END, "")).encode("ascii")
        self._verifier.verify(message, armored)
        return armored


def blob_of(raw: bytes) -> bytes:
    """An Ed25519 public key as SSH sends it."""
    return packed(KIND) + packed(raw)


def raw_of(blob: bytes) -> bytes:
    """The other way round; raises EvidenceError when it is no Ed25519 key."""
    kind, rest = unpacked(blob)
    raw, rest = unpacked(rest)
    if kind != KIND or len(raw) != 32 or rest:
        raise EvidenceError("not the blob of an Ed25519 key")
    return raw


def packed(data: bytes) -> bytes:
    """A string of SSH: its length and its bytes."""
    return len(data).to_bytes(4, "big") + data


def unpacked(data: bytes) -> tuple[bytes, bytes]:
    """The first string and what follows it; raises EvidenceError when there is none."""
    end = 4 + int.from_bytes(data[:4], "big")
    if len(data) < max(4, end):
        raise EvidenceError("an SSH message ends within a string")
    return data[4:end], data[end:]


def ed25519_of(blob: bytes) -> bytes:
    """The 64 bytes in an SSH signature blob; raises EvidenceError when it is none of Ed25519."""
    kind, rest = unpacked(blob)
    value, rest = unpacked(rest)
    if kind != KIND or len(value) != 64 or rest:
        raise EvidenceError("not an Ed25519 signature")
    return value


def _to_sign(namespace: bytes, algorithm: bytes, message: bytes) -> bytes:
    return _MAGIC + b"".join(map(packed, (namespace, b"", algorithm, _DIGESTS[algorithm](message))))


def _opened(armored: bytes) -> tuple[bytes, bytes, bytes, bytes]:
    """Key blob, namespace, digest algorithm and the 64 bytes; raises EvidenceError."""
    if len(armored) > MAX_SIGNATURE:
        raise EvidenceError("the SSH signature is larger than 16 KiB")
    lines = armored.decode("ascii", "replace").rstrip("\r\n").split("\n")
    lines = [line.removesuffix("\r") for line in lines]
    if len(lines) < 3 or lines[0] != _BEGIN or lines[-1] != _END:
        raise EvidenceError("not an SSH signature")
    blob = from_base64("".join(lines[1:-1]), "the SSH signature")
    if blob[:6] != _MAGIC or blob[6:10] != _VERSION.to_bytes(4, "big"):
        raise EvidenceError("not an SSH signature of version 1")
    key, rest = unpacked(blob[10:])
    namespace, rest = unpacked(rest)
    reserved, rest = unpacked(rest)
    algorithm, rest = unpacked(rest)
    value, rest = unpacked(rest)
    if reserved or rest:
        raise EvidenceError("the SSH signature holds more than this version has")
    if algorithm not in _DIGESTS:
        raise EvidenceError("the SSH signature is over a digest that is not known here")
    return key, namespace, algorithm, ed25519_of(value)
