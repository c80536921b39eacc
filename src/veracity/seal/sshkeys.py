"""SSH keys that sign: a private key's file, or the agent that holds the key of a ``.pub`` file.

The agent's protocol is draft-ietf-sshm-ssh-agent: messages with a length in front, over a Unix socket. What
it answers is checked like anything else: a signature is returned only when it holds.
"""

from __future__ import annotations

import socket
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ..core.errors import EvidenceError, TransportError, UsageError
from ..ledger.files import read_bounded
from ..ledger.keyfiles import read_key_file
from .sshsig import MAX_LINE, SshPublicKey, SshSigner, ed25519_of, packed, unpacked

TIMEOUT = 60.0
"""Seconds: an agent may ask its owner first."""
_MAX_ANSWER = 256 * 1024
_LIST, _LISTED = 11, 12
_SIGN, _SIGNED = 13, 14
_PUBLIC = b"ssh-"


def load_signer(path: Path, agent: str) -> SshSigner:
    """The key in ``path``: a private one, or a public one whose private half the agent signs with.

    ``agent``: the path of its socket, empty when there is none. Raises UsageError when the file is missing,
    holds no Ed25519 key or, being private, can be used by others; EvidenceError for a malformed public key.
    """
    try:
        head = read_bounded(path, MAX_LINE)
    except EvidenceError as error:
        raise UsageError(error.diagnostics().what, where=str(path)) from error
    if head.lstrip().startswith(_PUBLIC):
        public = SshPublicKey.parse(head.decode("ascii", "replace"))
        if not agent:
            raise UsageError(
                "there is no agent that could sign with this key (SSH_AUTH_SOCK is not set)",
                where=str(path),
                remedy="start ssh-agent and add the key, or name the private key's file",
            )
        _check_held(agent, public)
        return SshSigner(public, lambda message: _signed(agent, public, message))
    try:
        private = serialization.load_ssh_private_key(read_key_file(path), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise UsageError(
            "the key file holds no unencrypted SSH private key",
            where=str(path),
            remedy="add a key with a passphrase to ssh-agent and name its .pub file",
        ) from error
    if not isinstance(private, Ed25519PrivateKey):
        raise UsageError("the key file holds an SSH key that is not Ed25519", where=str(path))
    raw = private.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return SshSigner(SshPublicKey(raw), private.sign)


def _check_held(agent: str, public: SshPublicKey) -> None:
    """Raise TransportError unless the agent holds the key: better before a long reading than after it."""
    kind, rest = _asked(agent, bytes([_LIST]))
    held = []
    if kind == _LISTED:
        count, rest = int.from_bytes(rest[:4], "big"), rest[4:]
        for _ in range(count):
            blob, rest = _string(agent, rest)
            _, rest = _string(agent, rest)  # its comment
            held.append(blob)
    if public.blob not in held:
        raise TransportError(
            f"the SSH agent does not hold {public.name}",
            where=agent,
            remedy="add the key: ssh-add FILE; `ssh-add -l` lists what it holds",
        )


def _signed(agent: str, public: SshPublicKey, message: bytes) -> bytes:
    """The agent's 64 bytes over ``message``; raises TransportError when it does not give them."""
    kind, rest = _asked(agent, bytes([_SIGN]) + packed(public.blob) + packed(message) + bytes(4))
    if kind != _SIGNED:
        raise TransportError(f"the SSH agent refused to sign with {public.name}", where=agent)
    blob, _ = _string(agent, rest)
    try:
        return ed25519_of(blob)
    except EvidenceError as error:
        raise _malformed(agent) from error


def _asked(agent: str, request: bytes) -> tuple[int, bytes]:
    """Kind and content of the agent's answer; raises TransportError when there is none."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
            link.settimeout(TIMEOUT)
            link.connect(agent)
            link.sendall(packed(request))
            length = int.from_bytes(_received(link, 4), "big")
            if not 0 < length <= _MAX_ANSWER:
                raise _malformed(agent)
            answer = _received(link, length)
    except OSError as error:
        raise TransportError(
            f"the SSH agent cannot be asked: {error.strerror or error}", where=agent
        ) from error
    return answer[0], answer[1:]


def _string(agent: str, data: bytes) -> tuple[bytes, bytes]:
    try:
        return unpacked(data)
    except EvidenceError as error:
        raise _malformed(agent) from error


def _malformed(agent: str) -> TransportError:
    return TransportError("the SSH agent's answer is not one of its protocol", where=agent)


def _received(link: socket.socket, length: int) -> bytes:
    """Exactly so many bytes; raises OSError when the agent leaves before."""
    parts = []
    while length:
        part = link.recv(min(length, 1 << 16))
        if not part:
            raise ConnectionResetError("it left in the middle of its answer")
        parts.append(part)
        length -= len(part)
    return b"".join(parts)
