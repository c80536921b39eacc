"""Asking witnesses to cosign a tree head, and what their refusals show.

A witness that has seen more of the log than there is, another tree of the same size, or a tree that this one
does not continue, has seen another history: that is a failed verification and no transport error.
"""

from __future__ import annotations

import base64
import http.client
import urllib.parse
from collections.abc import Sequence
from dataclasses import dataclass

from ...core.errors import TransportError, UsageError, VerificationError
from ...core.quantity import quantity
from ..address import is_address
from ..merkle import consistency_proof
from ..note import parse_note
from ..tree_head import TreeHead
from .cosignature import WitnessKey, verify_cosignature
from .record import Answer
from .requests import AddCheckpoint

SECONDS = 10.0
MAX_ANSWER = 64 * 1024
TRIES = 4


@dataclass(frozen=True, slots=True)
class KnownWitness:
    """A witness by the address of its service and its key."""

    url: str
    key: WitnessKey

    @classmethod
    def parse(cls, text: str) -> KnownWitness:
        """Read ``URL=vkey``; raises UsageError for what is none."""
        url, equals, vkey = text.partition("=")
        if not equals:
            raise UsageError(f"not a witness: {text[:120]!r}", remedy="write URL=NAME+ID+KEY")
        return cls.at(url, WitnessKey.parse(vkey))

    @classmethod
    def at(cls, url: str, key: WitnessKey) -> KnownWitness:
        """The witness behind an address; raises UsageError for what is no address."""
        if not is_address(url):
            raise UsageError(f"not a witness' address: {url[:120]!r}", remedy="write http://HOST:PORT")
        return cls(url.rstrip("/"), key)


def ask(
    witness: KnownWitness, head: TreeHead, leaves: Sequence[bytes], *, old: int = 0, signed: int = 0
) -> TreeHead:
    """``head`` with the witness' cosignature, which holds. ``leaves``: the hashes of its entries, in order.

    ``old``: the size that it is thought to know; it says another. ``signed``: the size that it has cosigned
    last, as its signature shows. Raises VerificationError when the witness has seen another history, has
    forgotten what it signed or its signature does not hold, TransportError when it cannot be reached or
    refuses.
    """
    for _ in range(TRIES):
        request = AddCheckpoint(old, tuple(consistency_proof(leaves[: head.size], old)), head)
        answer = _sent(witness, request.encode())
        if answer.status == 200:
            return _with(witness, head, answer.body)
        if answer.status == 422:
            raise VerificationError(
                f"{witness.key.name} has seen another history of {head.origin}: {answer.body.strip()[:200]}",
                remedy="this ledger was rewritten or forked: compare it with a copy from elsewhere",
            )
        if answer.status != 409:
            raise TransportError(
                f"{witness.key.name} refused with {answer.status}: {answer.body.strip()[:200]}",
                where=witness.url,
            )
        old = _known(witness, head, answer.body, old)
        if old < signed:
            raise VerificationError(
                f"{witness.key.name} was set back: it cosigned {quantity(signed, 'entry')} of {head.origin} "
                f"and knows of {old}",
                remedy="ask its owner; it could sign a second history of the entries after these",
            )
    raise TransportError(f"{witness.key.name} knows another size each time it is asked", where=witness.url)


def _known(witness: KnownWitness, head: TreeHead, body: str, asked: int) -> int:
    """The size that the witness knows, if this log may have grown from there."""
    text = body.strip()
    if not (text.isascii() and text.isdecimal() and len(text) < 20):
        raise TransportError(f"{witness.key.name} does not say which size it knows", where=witness.url)
    size = int(text)
    if size > head.size:
        raise VerificationError(
            f"{witness.key.name} has seen {quantity(size, 'entry')} of {head.origin}, and there are "
            f"{head.size}",
            remedy="this ledger was cut back: compare it with a copy from elsewhere",
        )
    if size == head.size == asked:
        raise VerificationError(
            f"{witness.key.name} has seen another tree of {quantity(size, 'entry')} of {head.origin}",
            remedy="this ledger was rewritten or forked: compare it with a copy from elsewhere",
        )
    return size


def _with(witness: KnownWitness, head: TreeHead, lines: str) -> TreeHead:
    """The head with the lines of the answer that are this witness', in its words and no others."""
    text = parse_note(head.signed).text.encode("utf-8") + b"\n"
    answered = parse_note(text + lines.encode("utf-8"))
    verify_cosignature(answered, witness.key)
    kept = b"".join(
        f"\u2014 {one.name} {base64.b64encode(one.key_id + one.value).decode('ascii')}\n".encode()
        for one in answered.signatures
        if (one.name, one.key_id) == (witness.key.name, witness.key.key_id)
    )
    return TreeHead.parse(head.signed + kept)


def _sent(witness: KnownWitness, body: bytes) -> Answer:
    parts = urllib.parse.urlsplit(witness.url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    try:
        connection = kind(parts.hostname or "", parts.port, timeout=SECONDS)
        try:
            connection.request("POST", f"{parts.path}/add-checkpoint", body)
            response = connection.getresponse()
            data = response.read(MAX_ANSWER + 1)
        finally:
            connection.close()
        if len(data) > MAX_ANSWER:
            raise TransportError(f"{witness.key.name} answers at too great length", where=witness.url)
        return Answer(response.status, data.decode("utf-8", "replace"))
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise TransportError(
            f"{witness.key.name} cannot be reached: {str(error) or type(error).__name__}", where=witness.url
        ) from error
