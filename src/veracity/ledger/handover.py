"""A bundle in somebody's hands: check it as its third party does, and hand it on with one more line.

The archive is as hostile as anything from elsewhere; its members are read within the bounds that
``verify_evidence.py`` has, by the same code.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from ..core.errors import EvidenceError, VerificationError
from . import verify_evidence
from .bundle import STAMPED, TIMESTAMPS
from .custody import MAX_CUSTODY, MEMBER, Hand, add_line, content_of, verify_custody
from .files import whole_file
from .keys import PublicKey
from .note import MAX_NOTE, parse_note
from .packing import Packing
from .redaction import MEMBER as REDACTION
from .redaction import KeyFile, verify_redaction
from .timestamp import MAX_TIMESTAMPS, MAX_TOKEN, SUFFIX, verify_timestamps
from .tree_head import TreeHead

HEAD = "ledger/checkpoint"
_MALFORMED = (*verify_evidence.MALFORMED, zipfile.BadZipFile, zlib.error)


def verify_bundle(
    path: Path,
    key: Path | None,
    policy: Path | None,
    keys: Sequence[PublicKey],
    authorities: Path | None = None,
    redaction_key: Path | None = None,
) -> tuple[list[str], list[str]]:
    """Sentences about what holds, and about what is lacking.

    ``key`` and ``policy``: files of the verifier's own, as for ``verify_evidence.py``, which this runs;
    ``keys``: known to sign custody; ``authorities``: certificates of those one of whom must have stamped it;
    ``redaction_key``: the file with which a redacted bundle's names are put back.
    Raises VerificationError for what does not hold, EvidenceError when it
    cannot be checked.
    """
    said: list[str] = []
    with opened(path) as bundle:
        files = [None if one is None else str(one) for one in (key, policy)]
        lacking = verify_evidence.check(bundle, files[0], files[1], said)
        if authorities is not None:
            line = bundle.read("ledger.vkey", MAX_NOTE, files[0]).decode("ascii")
            said += _stamped(bundle, PublicKey.parse(line), authorities)
        if redaction_key is not None:
            said += _restored(bundle, KeyFile.load(redaction_key))
        content = content_of({name: sha256(bundle.read(name)).digest() for name in bundle.members})
        told = verify_custody(_custody(bundle), content, keys)
    said += told or ["the bundle has no custody log"]
    return said, lacking


def _restored(bundle: verify_evidence.Bundle, secret: KeyFile) -> list[str]:
    """That the entries which are withheld are those that are shown; the root over them was verified."""
    if REDACTION not in bundle.members:
        raise EvidenceError("nothing in this bundle is redacted", remedy="verify it without --redaction-key")
    size = TreeHead.parse(bundle.read(HEAD, MAX_NOTE)).size
    entries = list(verify_evidence.read_entries(bundle, size))
    return verify_redaction(bundle.read(REDACTION), entries, secret)


def _stamped(bundle: verify_evidence.Bundle, key: PublicKey, authorities: Path) -> list[str]:
    """That the tree head of the bundle was stamped; the head that lies beside its timestamps must be it."""
    names = sorted(name for name in bundle.members if name.startswith(TIMESTAMPS) and name.endswith(SUFFIX))
    tokens = [bundle.read(name, MAX_TOKEN) for name in names[:MAX_TIMESTAMPS]]
    if not tokens:
        return verify_timestamps([], TreeHead.parse(bundle.read(HEAD, MAX_NOTE)), authorities)
    stamped, head = (TreeHead.parse(bundle.read(name, MAX_NOTE)) for name in (STAMPED, HEAD))
    if parse_note(stamped.signed).text != parse_note(head.signed).text:
        raise VerificationError("the timestamps in the bundle are of another tree head")
    stamped.verify(key)
    return verify_timestamps(tokens, stamped, authorities)


def hand_on(source: Path, target: Path, hand: Hand, keys: Sequence[PublicKey] = ()) -> list[str]:
    """Write the bundle to ``target`` with one more line of custody; sentences about the lines before.

    Members are copied as they are. Raises VerificationError when the custody log so far does not hold for
    them, EvidenceError when the bundle cannot be read, OSError when the copy cannot be written. ``target`` is
    there whole or not at all.
    """
    with opened(source) as bundle, whole_file(target) as file, Packing(file) as packing:
        for name in bundle.members:
            if name != MEMBER:
                packing.add(name, bundle.read(name))
        before = _custody(bundle)
        told = verify_custody(before, packing.content, keys)
        packing.add(MEMBER, add_line(before, hand, packing.content))
    return told


def _custody(bundle: verify_evidence.Bundle) -> bytes:
    return bundle.read(MEMBER, MAX_CUSTODY) if MEMBER in bundle.members else b""


@contextmanager
def opened(path: Path) -> Iterator[verify_evidence.Bundle]:
    """A bundle, to read members of.

    What is wrong with it while it is read is raised as VerificationError or EvidenceError, with its name.
    """
    if path.exists() and not path.is_file():
        raise EvidenceError("not a regular file", where=str(path))  # a named pipe would hold its reader
    try:
        with zipfile.ZipFile(path) as archive:
            yield verify_evidence.Bundle(archive)
    except verify_evidence.Failed as error:
        raise VerificationError(str(error), where=str(path)) from error
    except _MALFORMED as error:
        raise EvidenceError(f"the bundle cannot be read: {error}", where=str(path)) from error
