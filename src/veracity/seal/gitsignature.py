"""What a signature in a git repository is worth, found out without starting a program.

git asks the program that a setting names (``gpg.program``, ``gpg.ssh.program``), and the settings are the
repository's. So SSH signatures with Ed25519 keys are checked here; of others it is said by which key they say
they were made, and that nobody checked them. A signature that holds says which key made it, not whose it is.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from dataclasses import replace
from fnmatch import fnmatchcase

from ..core.errors import Error, EvidenceError
from ..core.repository import Signature
from .sshsig import KIND, SshPublicKey, raw_of, unpacked

NAMESPACE = "git"
HOLDS, BROKEN = "holds", "does not hold"
MAX_SIGNATURE = 64 << 10
_SSH, _PGP, _X509 = "ssh", "openpgp", "x509"
_ARMORS = (
    (b"-----BEGIN SSH SIGNATURE-----", _SSH),
    (b"-----BEGIN PGP SIGNATURE-----", _PGP),
    (b"-----BEGIN PGP MESSAGE-----", _PGP),
    (b"-----BEGIN SIGNED MESSAGE-----", _X509),
)
_ISSUER, _FINGERPRINT = 16, 33
_WORDS = re.compile(r'(?:[^\s"]|"[^"]*")+')
_KEY = re.compile(r"(?:sk-)?(?:ssh|ecdsa)-[A-Za-z0-9@.\-]+")
_NAMESPACES = re.compile(r'(?i)(?:^|,)namespaces="([^"]*)"')


def signature_of(
    of: str, message: bytes, armored: bytes, signers: Mapping[str, str] | None = None
) -> Signature:
    """What a signature over ``message`` says, and whether it holds.

    ``of``: of what it is one, for people; ``signers``: whose key is whose, by fingerprint.
    """
    kind = next((kind for begin, kind in _ARMORS if armored.startswith(begin)), "")
    if not kind or len(armored) > MAX_SIGNATURE:
        return Signature(of, "unknown", "", "not checked: it is of no known form")
    if kind == _SSH:
        found = _ssh(of, message, armored)
        known = (signers or {}).get(found.key, "")
        return replace(found, signer=known if found.standing == HOLDS else "")
    if kind == _X509:
        return Signature(of, kind, "", "not checked: certificates are for other tools")
    try:
        key = _pgp_key(armored)
    except EvidenceError as error:
        return Signature(of, kind, "", f"not checked: {error}")
    return Signature(of, kind, key, "not checked: OpenPGP is for other tools")


def allowed_signers(text: str) -> dict[str, str]:
    """Whose keys may sign, by fingerprint, from a file as ``ssh-keygen -Y verify -f`` takes it.

    Lines with times, which an author's date would have to be held against, and those of authorities are left
    out. Raises EvidenceError for a malformed line. Format: ssh-keygen(1), ALLOWED SIGNERS.
    """
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        words = _WORDS.findall(line.strip())
        if not words or words[0].startswith("#"):
            continue
        at = next((at for at, word in enumerate(words[:3]) if at and _KEY.fullmatch(word)), 0)
        if not at or len(words) <= at + 1:
            raise EvidenceError(f"line {number} of the allowed signers names no key")
        options = ",".join(words[1:at])
        namespaces = _NAMESPACES.search(options)
        if "cert-authority" in options.lower() or "valid-" in options.lower():
            continue
        if namespaces is None or any(fnmatchcase(NAMESPACE, one) for one in namespaces[1].split(",")):
            found[_fingerprint(_base64(words[at + 1].encode("ascii", "replace")))] = words[0].strip('"')
    return found


def _fingerprint(blob: bytes) -> str:
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode("ascii").rstrip("=")


def _ssh(of: str, message: bytes, armored: bytes) -> Signature:
    name = ""
    try:
        blob = _ssh_key(armored)
        name = _fingerprint(blob)
        kind, _ = unpacked(blob)
        if kind != KIND:
            said = kind[:60].decode("ascii", "backslashreplace")
            return Signature(of, _SSH, name, f"not checked: a key of kind {said}")
        SshPublicKey(raw_of(blob), NAMESPACE).verify(message, armored.strip())
    except EvidenceError as error:
        return Signature(of, _SSH, name, f"not checked: {error}")
    except Error as error:
        return Signature(of, _SSH, name, f"{BROKEN}: {error}")
    return Signature(of, _SSH, name, HOLDS)


def _ssh_key(armored: bytes) -> bytes:
    """The key that an SSH signature says made it, of whatever kind."""
    data = _base64(b"".join(armored.strip().split(b"\n")[1:-1]))
    if data[:10] != b"SSHSIG" + bytes((0, 0, 0, 1)):
        raise EvidenceError("not an SSH signature of version 1")
    return unpacked(data[10:])[0]


def _pgp_key(armored: bytes) -> str:
    """Fingerprint or number of the key, as the signature's own packet says (RFC 4880, 5.2.3)."""
    body = armored.replace(b"\r", b"").partition(b"\n\n")[2]
    lines = [line for line in body.split(b"\n") if not line.startswith((b"-----", b"="))]
    data = _base64(b"".join(lines))
    content = _packet(data)
    if len(content) < 6 or content[0] not in (4, 6):
        raise EvidenceError("an OpenPGP signature of a version that is not known here")
    width = 2 if content[0] == 4 else 4
    found: dict[int, bytes] = {}
    at = 4
    for _ in range(2):  # the subpackets that are signed, and those that are not
        length = int.from_bytes(content[at : at + width], "big")
        at += width
        for kind, value in _subpackets(content[at : at + length]):
            found.setdefault(kind, value)
        at += length
    if _FINGERPRINT in found:
        return found[_FINGERPRINT][1:].hex().upper()
    if _ISSUER in found:
        return found[_ISSUER].hex().upper()
    raise EvidenceError("an OpenPGP signature that names no key")


def _packet(data: bytes) -> bytes:
    """The content of the first packet, which has to be a signature."""
    if not data or not data[0] & 0x80:
        raise EvidenceError("not an OpenPGP signature")
    new = bool(data[0] & 0x40)
    tag = data[0] & 0x3F if new else (data[0] >> 2) & 0x0F
    if tag != 2:
        raise EvidenceError("not an OpenPGP signature")
    if new:
        length, at = _length(data, 1)
    else:
        width = 1 << (data[0] & 0x03)
        length, at = int.from_bytes(data[1 : 1 + width], "big"), 1 + width
    return data[at : at + length]


def _subpackets(data: bytes) -> list[tuple[int, bytes]]:
    found, at = [], 0
    while at < len(data):
        length, begin = _length(data, at)
        if length < 1 or begin + length > len(data):
            raise EvidenceError("an OpenPGP signature that is malformed")
        found.append((data[begin] & 0x7F, data[begin + 1 : begin + length]))
        at = begin + length
    return found


def _length(data: bytes, at: int) -> tuple[int, int]:
    """A length as packets have it, and where it ends."""
    first = data[at] if at < len(data) else 0
    if first < 192:
        return first, at + 1
    if first < 255:
        return ((first - 192) << 8) + (data[at + 1] if at + 1 < len(data) else 0) + 192, at + 2
    return int.from_bytes(data[at + 1 : at + 5], "big"), at + 5


def _base64(data: bytes) -> bytes:
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise EvidenceError("a signature that is not base64") from error
