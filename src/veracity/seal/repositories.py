"""Git repositories in a seal: what stands in its document, and what is kept beside it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial

import msgspec

from ..core.canonical import Json
from ..core.errors import Error, EvidenceError
from ..core.repository import RepositoryState
from ..ledger.files import write_private
from ..observe.git import Repositories
from .folder import SealFolder
from .gitsignature import signature_of
from .masking import Masker

MAX_LINES = 20_000
MAX_LINE = 1_000


def states_of(found: Repositories, signers: Mapping[str, str] | None = None) -> tuple[RepositoryState, ...]:
    """What the repositories are now, without secrets. ``signers``: whose key is whose, by fingerprint."""
    return tuple(_masked(one) for one in found.states(partial(signature_of, signers=signers)))


def sealed_states(
    found: Repositories, folder: SealFolder, signers: Mapping[str, str]
) -> tuple[RepositoryState, ...]:
    """The same, and how files differ from the commit is written down beside the seal."""
    states = []
    for one in states_of(found, signers):
        try:
            text = found.diff_of(one.name, one)
        except Error as error:
            one = replace(one, cut=(*one.cut, f"diff: {error.diagnostics().what}"))
            text = b""
        states.append(replace(one, diff=_kept(folder, one, text)) if text else one)
    return tuple(states)


def _kept(folder: SealFolder, one: RepositoryState, text: bytes) -> str:
    """Write the text, masked, under the name of its digest."""
    lines = [line[:MAX_LINE] for line in text.decode("utf-8", "replace").splitlines()]
    masked = "\n".join(_masker(one).lines(lines[:MAX_LINES])) + "\n"
    data = masked.encode("utf-8", "replace")
    digest = hashlib.sha256(data).hexdigest()
    write_private(folder.diff(digest), data)
    return digest


def _masked(one: RepositoryState) -> RepositoryState:
    masker = _masker(one)
    settings = tuple(replace(it, value=masker.text(it.value)) for it in one.settings)
    return replace(one, settings=settings)


def _masker(one: RepositoryState) -> Masker:
    """Masks so that two readings of a repository can be compared by whoever has them.

    So the key is no secret, and a short secret can be found by trying: the seal is for its owner alone.
    """
    return Masker(hashlib.sha256(b"veracity git\0" + one.algorithm.encode("ascii")).digest())


def document_of(states: Sequence[RepositoryState]) -> list[Json]:
    """As it stands in the seal's document."""
    return [_plain(asdict(one)) for one in states]


def _plain(value: object) -> Json:
    """Fields as JSON has them: lists for tuples."""
    if isinstance(value, dict):
        return {str(name): _plain(inside) for name, inside in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(inside) for inside in value]
    if isinstance(value, (str, int)):
        return value
    raise TypeError(f"no field of a repository: {type(value).__name__}")


def read_states(value: Json) -> tuple[RepositoryState, ...]:
    """From the seal's document; raises EvidenceError when it is malformed."""
    try:
        return msgspec.convert(value, type=tuple[RepositoryState, ...])
    except (msgspec.ValidationError, RecursionError) as error:
        raise EvidenceError(f"the seal has a malformed repository: {error}") from error
