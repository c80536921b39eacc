"""Models signed so that others' tools accept it, and what they signed compared with what is there.

The list of files, and what is left out of it, follow the reference implementation: every regular file below
the folder, links only where the signer allowed them, nothing below the names that the statement ignores.
Unlike it: links to folders make the answer incomplete rather than be passed over, and where a statement says
that links are followed nobody need say so again.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ..core.errors import EvidenceError, UsageError
from ..core.quantity import quantity
from ..core.tree import escaped
from ..ledger.eckeys import EcPublicKey, EcSigningKey
from ..ledger.files import read_bounded, write_whole
from ..observe.tree import Progress, Unread
from ..observe.wholefiles import HowToRead, Listing, read_whole_files
from .compare import Change
from .modelbundle import (
    MAX_BUNDLE,
    SINGLE,
    ModelStatement,
    looks_like_bundle,
    path_of,
    read_bundle,
    write_bundle,
)

SIGNATURE = "model.sig"
KEY_FILE = "model-key.pem"
"""A home's key for models, made when first needed."""
PUBLIC_FILE = "model-key.pub.pem"
GIT = (".git", ".gitattributes", ".github", ".gitignore")
"""What the format's tools leave out of every model."""


@dataclass(frozen=True, slots=True)
class SignedModel:
    """What was signed or verified, and where. ``size``: bytes of all its files, as read now."""

    signature: Path
    model: Path
    statement: ModelStatement
    key: EcPublicKey
    size: int


@dataclass(frozen=True, slots=True)
class ChangedFile:
    """A path below the model (escaped as in a manifest) that is not as it was signed."""

    path: str
    change: Change
    remark: str = ""


@dataclass(frozen=True, slots=True)
class CheckedModel:
    """A model compared with its signature. ``passed``: ignored names that are there."""

    signed: SignedModel
    changed: tuple[ChangedFile, ...]
    unread: tuple[Unread, ...]
    passed: tuple[str, ...]


def signature_of(model: Path) -> Path:
    """Where a model's signature lies unless somebody says otherwise."""
    return model / SIGNATURE if model.is_dir() else model.with_name(model.name + ".sig")


def model_of(signature: Path) -> Path | None:
    """The model beside a signature, the other way round; None when the names do not tell."""
    if signature.name == SIGNATURE:
        return signature.absolute().parent
    model = signature.with_name(signature.name.removesuffix(".sig"))
    return model if signature.name.endswith(".sig") and model.name and model.is_file() else None


def sign_model(
    model: Path,
    signature: Path,
    key: EcSigningKey,
    *,
    ignored: Iterable[Path] = (),
    links: bool = False,
    progress: Progress | None = None,
) -> SignedModel:
    """Sign the file or folder ``model``; the bundle is written to ``signature``, whole or not at all.

    ``ignored`` are paths in the model that are no part of it. Raises UsageError when one is not in the model
    or ``signature`` is something else already, EvidenceError when something could not be read or cannot
    stand in such a list: half a model is not signed.
    """
    _check_replaceable(signature)
    left_out = sorted({*GIT, *(_below(model, path) for path in ignored), *_own(model, signature)})
    listing = read_whole_files(model, _how("sha256", 0, left_out, links=links), progress=progress)
    _check_complete(listing)
    files = {_name(path): file.digests for path, file in listing.files.items()}
    name = os.path.basename(os.path.realpath(os.fsencode(model))).decode("utf-8", "replace") or "model"
    statement = ModelStatement(name, "sha256", 0, links, tuple(left_out), files)
    write_whole(signature, write_bundle(statement, key))
    return SignedModel(signature, model, statement, key.verifier, listing.size)


def verify_model(
    model: Path, signature: Path, key: EcPublicKey, *, progress: Progress | None = None
) -> CheckedModel:
    """Compare ``model`` with what ``key`` signed.

    Raises VerificationError when the signature does not hold, EvidenceError when it is none.
    """
    statement = read_bundle(read_bounded(signature, MAX_BUNDLE), key)
    left_out = sorted({*statement.ignored, *_own(model, signature)})
    how = _how(statement.algorithm, statement.shard, left_out, links=statement.links)
    listing = read_whole_files(model, how, progress=progress)
    changed = sorted(_changes(statement, listing), key=lambda one: one.path)
    signed = SignedModel(signature, model, statement, key, listing.size)
    return CheckedModel(signed, tuple(changed), listing.unread, tuple(map(escaped, listing.ignored)))


def _changes(statement: ModelStatement, listing: Listing) -> Iterable[ChangedFile]:
    signed = {os.fsencode(path): digests for path, digests in statement.files.items()}
    unread = {one.path for one in listing.unread}
    for path, file in listing.files.items():
        before = signed.get(path)
        if before is None and file.digests:  # shards have nothing to say of an empty file
            yield ChangedFile(escaped(path), Change.ADDED, quantity(file.size, "byte"))
        elif before is not None and before != file.digests:
            yield ChangedFile(escaped(path), Change.CONTENT, quantity(file.size, "byte"))
    for path, what in listing.odd.items():
        yield ChangedFile(escaped(path), Change.KIND if path in signed else Change.ADDED, what)
    for path in signed.keys() - listing.files.keys() - listing.odd.keys():
        if not _within(escaped(path), unread):
            yield ChangedFile(escaped(path), Change.REMOVED)


def _within(path: str, unread: set[str]) -> bool:
    """Whether a path, or a folder that it lies in, could not be read."""
    parts = path.split("/")
    return any("/".join(parts[:count]) in unread for count in range(1, len(parts) + 1))


def _check_complete(listing: Listing) -> None:
    for one in listing.unread:
        raise EvidenceError(f"{one.path} cannot be signed: {one.reason}", remedy="or leave it out: --ignore")
    for path, what in listing.odd.items():
        raise EvidenceError(
            f"{escaped(path)} cannot be signed: it is {what}",
            remedy="leave it out with --ignore, or follow links with --follow-links",
        )
    if not listing.files:
        raise EvidenceError("there is no file to sign")


def _how(algorithm: str, piece: int, ignored: Iterable[str], *, links: bool) -> HowToRead:
    return HowToRead(algorithm, piece, frozenset(map(os.fsencode, ignored)), links)


def _name(path: bytes) -> str:
    try:
        return path_of(path.decode("utf-8"), single=True)
    except (UnicodeDecodeError, EvidenceError) as error:
        raise EvidenceError(
            f"{escaped(path)} cannot be signed: its name is not UTF-8, or too long",
            remedy="rename it, or leave it out with --ignore",
        ) from error


def _own(model: Path, signature: Path) -> list[str]:
    """The signature's own path in the model, if it lies there."""
    relative = _relative(model, signature)
    return [] if relative is None else [path_of(relative)]


def _below(model: Path, path: Path) -> str:
    """A path that somebody named, from here or from the model on; raises UsageError when it is not in it."""
    for named in (path, model / path):
        relative = _relative(model, named)
        if relative is not None:
            return path_of(relative)
    raise UsageError("what is to be left out does not lie in the model", where=str(path))


def _relative(model: Path, path: Path) -> str | None:
    """Where ``path`` lies below ``model``, a link by its own place; None when it does not."""
    place = os.path.join(os.path.realpath(path.absolute().parent), path.name)
    relative = os.path.relpath(place, os.path.realpath(model))
    return None if relative in (SINGLE, os.pardir) or relative.startswith("../") else relative


def _check_replaceable(signature: Path) -> None:
    if not os.path.lexists(signature):
        return
    data = b""
    with suppress(EvidenceError):
        data = read_bounded(signature, MAX_BUNDLE)
    if not looks_like_bundle(data):
        raise UsageError(
            "there is a file already that is no signature", where=str(signature), remedy="name another one"
        )
