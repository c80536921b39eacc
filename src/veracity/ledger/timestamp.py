"""Timestamps of tree heads by an authority that knows nothing of us (RFC 3161), checked with ``openssl``.

What is stamped is the signed note, as it lies in a run's ``ledger/checkpoint``: so the log's signature was
there by then, too. A timestamp shows that a record was there by then; that there was no other one it does not
show, which is what witnesses are for.
"""

from __future__ import annotations

import calendar
import http.client
import re
import secrets
import subprocess
import tempfile
import time
import urllib.parse
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from ..core.errors import EvidenceError, TransportError, UsageError, VerificationError
from ..core.quantity import quantity
from .address import is_address
from .files import read_bounded, write_private
from .tree_head import TreeHead

SECONDS = 15.0
MAX_TOKEN = 64 * 1024
"""Bytes of an answer; those of authorities have some 2,000 to 8,000."""
MAX_AUTHORITIES = 4 << 20
MAX_TIMESTAMPS = 16
SUFFIX = ".tsr"
_GRANTED = (0, 1)
_SHA256 = bytes.fromhex("300d06096086480165030402010500")
_TIME = re.compile(r"^Time stamp: (\w{3} [ \d]\d \d\d:\d\d:\d\d)(?:\.\d+)? (\d{4}) GMT$", re.MULTILINE)


def request_for(data: bytes, nonce: int) -> bytes:
    """A TimeStampReq (RFC 3161, section 2.4.1) over the SHA-256 of ``data``, for an answer with certificates.

    ``nonce``: from 2**62 to 2**63 - 1, so that no older answer is taken for this one.
    """
    imprint = _der(0x30, _SHA256 + _der(0x04, sha256(data).digest()))
    number = _der(0x02, nonce.to_bytes(8, "big"))
    return _der(0x30, _der(0x02, b"\1") + imprint + number + _der(0x01, b"\xff"))


def check_address(url: str) -> None:
    """Raise UsageError unless this is the address of an authority."""
    if not is_address(url):
        raise UsageError(f"not an authority's address: {url[:120]!r}", remedy="write http://HOST:PORT/PATH")


def ask_authority(url: str, head: TreeHead) -> bytes:
    """The authority's answer, a TimeStampResp about this head. Whose word it is, is not known here.

    Raises TransportError when there is none, when it does not grant a timestamp, or is not about the request.
    """
    nonce = secrets.randbits(62) | 1 << 62
    answer = _sent(url, request_for(head.signed, nonce))
    try:
        status = _status(answer)
    except EvidenceError as error:
        raise TransportError(f"the authority's answer is none: {error}", where=url) from error
    if status not in _GRANTED:
        raise TransportError(f"the authority refuses, with status {status}", where=url)
    if sha256(head.signed).digest() not in answer or nonce.to_bytes(8, "big") not in answer:
        raise TransportError("the authority's answer is not about what was asked", where=url)
    return answer


def verify_timestamp(token: bytes, head: TreeHead, authorities: Path) -> int:
    """When an authority saw the head, in s since the epoch. ``authorities``: a PEM file of whom to believe.

    Raises VerificationError when the timestamp is of something else, or by nobody of them; EvidenceError when
    there is no ``openssl``, or it cannot say the time.
    """
    if len(token) > MAX_TOKEN:
        raise EvidenceError(f"a timestamp of {len(token)} bytes is too long")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_private(folder / "head", head.signed)
        write_private(folder / "answer", token)
        write_private(folder / "authorities", read_bounded(authorities, MAX_AUTHORITIES))
        # The status around the token is signed by nobody, and its text could say another time.
        _openssl(folder, ["-reply", "-in", "answer", "-token_out", "-out", "token"])
        known = str(authorities.absolute())
        checked = _openssl(
            folder, ["-verify", "-data", "head", "-in", "token", "-token_in", "-CAfile", known]
        )
        if checked.returncode != 0:
            raise VerificationError(
                f"the timestamp does not hold: {_reason(checked.stderr)}",
                remedy="it is of another tree head, or by an authority that you did not name",
            )
        told = _TIME.search(
            _openssl(folder, ["-reply", "-in", "token", "-token_in", "-token_out", "-text"]).stdout
        )
    if told is None:
        raise EvidenceError("openssl does not say the time of a timestamp that holds")
    try:
        return calendar.timegm(time.strptime(f"{told[1]} {told[2]}", "%b %d %H:%M:%S %Y"))
    except ValueError as error:
        raise EvidenceError(f"not a time: {told[0]!r}") from error


def verify_timestamps(tokens: Sequence[bytes], head: TreeHead, authorities: Path) -> list[str]:
    """That at least one of the timestamps holds for this head; a sentence for each that does.

    Raises VerificationError when none does, EvidenceError when they cannot be checked.
    """
    said = []
    refused = "there is no timestamp of this record"
    for token in tokens:
        try:
            at = verify_timestamp(token, head, authorities)
        except VerificationError as error:
            refused = str(error)
        else:
            moment = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(at))
            said.append(f"a time-stamping authority that you named had seen the tree head by {moment}")
    if not said:
        raise VerificationError(
            refused,
            remedy="was the run started with --timestamp, and stamped by an authority that you named?",
        )
    return said


def _sent(url: str, body: bytes) -> bytes:
    parts = urllib.parse.urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    path = urllib.parse.urlunsplit(("", "", parts.path or "/", parts.query, ""))
    try:
        connection = kind(parts.hostname or "", parts.port, timeout=SECONDS)
        try:
            connection.request("POST", path, body, {"Content-Type": "application/timestamp-query"})
            response = connection.getresponse()
            data = response.read(MAX_TOKEN + 1)
        finally:
            connection.close()
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise TransportError(
            f"the authority cannot be reached: {str(error) or type(error).__name__}", where=url
        ) from error
    if response.status != 200 or len(data) > MAX_TOKEN:
        raise TransportError(
            f"the authority answers {response.status} and {quantity(len(data), 'byte')}", where=url
        )
    return data


def _status(answer: bytes) -> int:
    """PKIStatus of a TimeStampResp: SEQUENCE { SEQUENCE { INTEGER, … }, token }."""
    outer = _inside(answer, 0x30)
    status = _inside(_inside(outer, 0x30), 0x02)
    if len(status) != 1:
        raise EvidenceError("it has no status")
    return status[0]


def _inside(data: bytes, tag: int) -> bytes:
    """What is in the DER value that ``data`` begins with."""
    if len(data) < 2 or data[0] != tag:
        raise EvidenceError("it is no timestamp response")
    start, length = 2, data[1]
    if length & 0x80:
        start += length & 0x7F
        length = int.from_bytes(data[2:start], "big")
    if start > len(data) or length > len(data) - start:
        raise EvidenceError("it is cut off")
    return data[start : start + length]


def _der(tag: int, value: bytes) -> bytes:
    """A DER value of fewer than 128 bytes."""
    return bytes([tag, len(value)]) + value


def _openssl(folder: Path, words: list[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            ["openssl", "ts", *words],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=60,
            check=False,
            env={"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C"},
        )
    except FileNotFoundError as error:
        raise EvidenceError("timestamps are checked with openssl, which is not there") from error
    except subprocess.TimeoutExpired as error:
        raise EvidenceError("openssl does not come to an end with a timestamp") from error


def _reason(text: str) -> str:
    """The first of openssl's own words for what it minds."""
    found = re.search(r":([^:\n]{3,80}):[^:\n]*\.c:\d+", text)
    return found[1] if found else "openssl refuses it"
