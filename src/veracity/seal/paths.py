"""Seals of files and folders: made, read again, and compared with what is there now.

A seal says of each of its *parts* (a name and a path) the digest of the tree that lay there. The document is
signed as an in-toto Statement; the trees' nodes lie beside it in the manifest, where the digests are checked
as they are read, so that nothing but the document needs a signature.
"""

from __future__ import annotations

import os
import shutil
import socket
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

from ..core.canonical import Json, encode
from ..core.digest import Digest
from ..core.errors import Error, EvidenceError, ResourceLimitError, UsageError
from ..core.level import Looked, level_of, together
from ..core.repository import RepositoryState
from ..core.tree import KINDS, TreeEntry, escaped, unescaped
from ..ledger.files import read_bounded, write_private
from ..ledger.keys import PublicKey, SigningKey
from ..ledger.signer import Signer
from ..observe.git import find_repositories
from ..observe.marks import NOBODY, Mark, mark_of
from ..observe.tree import Progress, Seen, Unread, read_chosen
from . import aliases, repositories
from .aliases import SealedLinks
from .compare import Change, Changed, compare
from .difference import Difference
from .fields import number_of, text_of
from .folder import SealFolder, require_empty
from .nodes import Added, Nodes, NodeWriter, Reading
from .reading import Look
from .sign import SEAL_TYPE, sign_statement, statement, unverified_statement, verify_envelope
from .sshsig import MAX_SIGNATURE, SshPublicKey
from .watch import Kept, Watch, changed_in, repositories_between, repositories_now

SCHEMA = 1
MAX_PARTS = 64
MAX_UNREAD = 10_000
MAX_MARKS = 10_000
MAX_ENVELOPE = 64 << 20


@dataclass(frozen=True, slots=True)
class Part:
    """One tree that a seal speaks of; ``without`` are the folders in it that were left out.

    ``only``: the paths that alone are part of it, with the folders on the way; empty for the whole tree.
    """

    name: str
    path: str
    root: TreeEntry
    without: tuple[str, ...] = ()
    only: tuple[str, ...] = ()

    def holds(self, path: str) -> bool:
        """Whether what lies at an absolute path is part of it."""
        if self.only:
            return path in self.only
        return _within(path, self.path) and not any(_within(path, one) for one in self.without)


@dataclass(frozen=True, slots=True)
class Seal:
    """What a seal says. ``made_at`` in ns since the epoch; ``unread``: part and what of it was not read.

    ``examined``: what was found when the parts were compared with what vouches for them; None without that.
    ``repositories``: those of git that the parts lie in. ``links``: names that files have elsewhere, None
    when they have none. ``looked``: how they were read, where a level was asked for. ``digest`` is that of
    its document, by which approvals name it.
    """

    seal: str
    made_at: int
    host: str
    user: str
    parts: tuple[Part, ...]
    unread: tuple[tuple[str, Unread], ...]
    examined: Mapping[str, Json] | None = None
    digest: str = ""
    repositories: tuple[RepositoryState, ...] = ()
    links: SealedLinks | None = None
    looked: Looked | None = None


Trees: TypeAlias = Mapping[str, Mapping[bytes, TreeEntry]]
"""Each part that is a folder, by where it lies: path from there → entry."""
Examine: TypeAlias = Callable[[Trees], Mapping[str, Json]]
"""Looks at what was read before it is signed, and says what is to stand in the seal."""
Further: TypeAlias = Callable[[Trees], Mapping[str, Sequence[str]]]
"""Looks at what was read and names single files, absolute paths, that are further parts of the seal."""
MAX_CHOSEN = 10_000


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be sealed: name of the part → path, and the folders that are no part of it.

    When the parts are read, ``further`` is asked for parts of single files, then ``examine`` about all.
    ``own``: the parts whose git repositories are sealed, too; None for all. ``signers``: whose SSH key is
    whose, by fingerprint. ``look``: what need not be read again; None: all is read. ``earlier``: a seal whose
    nodes need not be written again.
    """

    paths: Mapping[str, Path]
    without: Mapping[str, Sequence[Path]] = field(default_factory=dict)
    examine: Examine | None = None
    own: Collection[str] | None = None
    signers: Mapping[str, str] = field(default_factory=dict)
    further: Further | None = None
    look: Look | None = None
    earlier: SealFolder | None = None


def make_seal(
    folder: SealFolder,
    wanted: Wanted,
    key: SigningKey,
    *,
    also: Signer | None = None,
    progress: Progress | None = None,
) -> Seal:
    """Seal what is ``wanted`` into an empty directory; one that is not is left alone, and UsageError raised.

    ``also`` signs what ``key`` has signed, by an SSH signature beside it. Raises EvidenceError when nothing
    lies at one of the paths or the manifest cannot be written, OSError when the rest of the seal cannot, what
    signing raises; then nothing of it is left.
    """
    if not 0 < len(wanted.paths) <= MAX_PARTS:
        raise UsageError(f"a seal has 1 to {MAX_PARTS} parts, not {len(wanted.paths)}")
    require_empty(folder)
    try:
        made = _made(folder, wanted, key, progress)
        if also is not None:
            write_private(folder.ssh_signature, also.sign(_bytes_of(folder.envelope)))
        return made
    except BaseException as error:
        shutil.rmtree(folder.path, ignore_errors=True)
        if isinstance(error, OSError) and error.filename is None:
            raise OSError(error.errno, error.strerror, str(folder.path)) from error
        raise


def _made(folder: SealFolder, wanted: Wanted, key: SigningKey, progress: Progress | None) -> Seal:
    earlier = wanted.earlier.manifest if wanted.earlier is not None else None
    writer = NodeWriter.going_on(folder.manifest, earlier) if earlier else NodeWriter.at(folder.manifest)
    parts, unread, looked = [], [], []
    trees: dict[str, dict[bytes, TreeEntry]] = {}
    own = wanted.paths if wanted.own is None else wanted.own
    watch = Watch(find_repositories({name: path for name, path in wanted.paths.items() if name in own}))
    try:
        for name, path in wanted.paths.items():
            place = os.path.realpath(path)
            without = [*map(os.path.realpath, wanted.without.get(name, ())), *watch.left_out(place)]
            seen = _into(trees.setdefault(place, {})) if wanted.examine is not None else None
            skip = [folder.path, *map(Path, without)]
            kept = Kept(writer.keep, writer.known.__contains__)
            reading = watch.read(path, kept, progress, skip, seen, wanted.look)
            looked.append(reading.looked)
            parts.append(Part(name, place, reading.root, tuple(without)))
            unread += [(name, one) for one in reading.unread]
        for name, chosen in (wanted.further(trees) if wanted.further is not None else {}).items():
            only = tuple(dict.fromkeys(chosen))[:MAX_CHOSEN]
            reading = read_chosen(Path("/"), only, writer.keep, progress=progress)
            looked.append(reading.looked)
            parts.append(Part(name, "/", reading.root, only=only))
            unread += [(name, one) for one in reading.unread]
            if len(only) < len(set(chosen)):
                unread.append((name, Unread(".", f"more than {MAX_CHOSEN:,} files were to be part of it")))
    finally:
        writer.close()
    states = repositories.sealed_states(watch.repositories, folder, wanted.signers)
    unread += watch.unread(states)
    links = aliases.links_of(watch.links, {part.name: part.path for part in parts if not part.only})
    examined = wanted.examine(trees) if wanted.examine is not None else None
    at, host, user = time.time_ns(), socket.gethostname(), str(os.getuid())
    made = Seal(
        folder.seal,
        at,
        host,
        user,
        tuple(parts),
        tuple(unread),
        examined,
        repositories=states,
        links=links,
        looked=together(looked) if wanted.look is not None else None,
    )
    document = _document(made)
    digest = Digest.of(encode(document))
    payload = statement(made.seal, digest, document, SEAL_TYPE)
    envelope = sign_statement(payload, key)
    if len(envelope) > MAX_ENVELOPE:
        raise ResourceLimitError(f"the seal would be larger than {MAX_ENVELOPE >> 20} MiB: seal fewer parts")
    write_private(folder.envelope, envelope)
    write_private(folder.verifier, key.verifier.vkey.encode("ascii") + b"\n")
    return replace(made, digest=str(digest))


def _into(tree: dict[bytes, TreeEntry]) -> Seen:
    """Gathers what is seen of a tree, by the path from its root."""

    def seen(path: bytes, entries: Sequence[TreeEntry]) -> None:
        start = path + b"/" if path else b""
        tree.update((start + entry.name, entry) for entry in entries)

    return seen


def read_seal(folder: SealFolder, key: PublicKey | SshPublicKey) -> Seal:
    """What a seal says, its signature checked with ``key``: with an SSH key, the one that lies beside it.

    Raises VerificationError when the signature does not hold, EvidenceError when it is no seal.
    """
    envelope = _bytes_of(folder.envelope)
    if isinstance(key, SshPublicKey):
        key.verify(envelope, read_bounded(folder.ssh_signature, MAX_SIGNATURE))
        return _seal_in(envelope)
    return signed_seal(envelope, key)


def signed_seal(envelope: bytes, key: PublicKey) -> Seal:
    """What an envelope that ``key`` signed says; raises as :func:`read_seal` does."""
    verify_envelope(envelope, key, SEAL_TYPE)
    return _seal_in(envelope)


def uncommitted(envelope: bytes) -> list[str]:
    """Digests of the texts that a seal names of what was not committed. Whoever needs the signature checked
    it before. Raises EvidenceError when it is no seal.
    """
    return [one.diff for one in _seal_in(envelope).repositories if one.diff]


def _seal_in(envelope: bytes) -> Seal:
    found = unverified_statement(envelope, SEAL_TYPE)
    document = found["predicate"]
    if not isinstance(document, dict):
        raise EvidenceError("the seal has no document")
    digest = Digest.of(encode(document))
    if found.get("subject") != [{"name": document.get("seal"), "digest": {"sha256": digest.value}}]:
        raise EvidenceError("the seal's subject is not its document")
    return replace(_seal_of(document), digest=str(digest))


def check_seal(
    folder: SealFolder,
    seal: Seal,
    places: Mapping[str, Path],
    *,
    look: Look | None = None,
    progress: Progress | None = None,
    failed: Callable[[Part, Error | OSError], object] | None = None,
) -> Iterator[Difference]:
    """Read each part again, where it was sealed or where ``places`` says, and compare; then repositories.

    All of it is read without a ``look``. Raises EvidenceError when a part is not there at all or the manifest
    is not the seal's; with ``failed`` that is told there and the other parts are compared.
    """
    unknown = places.keys() - {part.name for part in seal.parts}
    if unknown:
        raise UsageError(f"the seal has no part {sorted(unknown)[0]!r}")
    lying = {part.name: places.get(part.name, Path(part.path)) for part in seal.parts}
    told = {one.part for state in seal.repositories for one in state.parts}
    watch = Watch(find_repositories({name: path for name, path in lying.items() if name in told}))
    found: list[Difference] = []
    with Nodes(folder.manifest) as nodes:
        for part in seal.parts:
            try:
                found.append(_checked(folder, part, lying[part.name], nodes, watch, progress, look))
            except (Error, OSError) as error:
                if failed is None:
                    raise
                failed(part, error)
    for one in found:
        yield watch.with_names(one, lying[one.part])
    real = {name: Path(os.path.realpath(path)) for name, path in lying.items()}
    changed = changed_in(found, real)
    yield from repositories_now(seal.repositories, watch, changed, places.keys())
    whole = {part.name: str(real[part.name]) for part in seal.parts if not part.only}
    after = aliases.links_of(watch.links, whole)
    said = aliases.new_names(seal.links, after)
    if said:
        yield Difference("", (), (), 0, 0, notes=(said,))


def _checked(
    folder: SealFolder,
    part: Part,
    path: Path,
    nodes: Nodes,
    watch: Watch,
    progress: Progress | None,
    look: Look | None,
) -> Difference:
    """What one part is now."""
    now = Added(nodes)
    # What was left out of the part is left out of its copy, too.
    without = [Path(path, os.path.relpath(one, part.path)) for one in part.without]
    if part.only:
        reading = read_chosen(path, part.only, now.keep, progress=progress)
    else:
        kept = Kept(now.keep, now.__contains__)
        reading = watch.read(path, kept, progress, [folder.path, *without], None, look)
    root = reading.root
    if root.kind == part.root.kind:  # what the root itself is called is no part of the seal
        root = TreeEntry(root.kind, root.mode, root.size, part.root.name, root.digest, root.target)
    changed = tuple(compare(part.root, nodes, root, now))
    marks = _marks(path, changed)
    return Difference(
        part.name, changed, reading.unread, reading.files, reading.size, marks, looked=reading.looked
    )


def _marks(root: Path, changed: Sequence[Changed]) -> dict[bytes, Mark]:
    start = os.fsencode(root)
    places = ((one.path, os.path.join(start, one.path) if one.path else start) for one in changed[:MAX_MARKS])
    marks = ((path, mark_of(place)) for path, place in places)
    return {path: mark for path, mark in marks if mark is not NOBODY}


def compare_seals(one: tuple[SealFolder, Seal], other: tuple[SealFolder, Seal]) -> Iterator[Difference]:
    """What changed in the parts from one seal to another; parts that only one of them has, whole."""
    found: list[Difference] = []
    with Nodes(one[0].manifest) as old, Nodes(other[0].manifest) as new:
        before = {part.name: part for part in one[1].parts}
        after = {part.name: part for part in other[1].parts}
        for name in [*before, *(name for name in after if name not in before)]:
            was, now = before.get(name), after.get(name)
            if was is not None and now is not None:
                apart = _left_out(was) ^ _left_out(now)
                changed = tuple(
                    one for one in compare(was.root, old, now.root, new) if not _is_in(one.path, apart)
                )
                notes = tuple(f"{name}: one of the seals left {escaped(path)} out" for path in sorted(apart))
            else:
                changed = _whole(was, old) if was is not None else _whole(now, new, added=True)
                notes = ()
            found.append(Difference(name, changed, (), 0, 0, notes=notes))
    yield from found
    lying = {part.name: Path(part.path) for part in one[1].parts} | {
        part.name: Path(part.path) for part in other[1].parts
    }
    yield from repositories_between(one[1].repositories, other[1].repositories, changed_in(found, lying))


def _left_out(part: Part) -> frozenset[bytes]:
    """The folders that were left out of a part, by their paths in it."""
    return frozenset(os.fsencode(os.path.relpath(one, part.path)) for one in part.without)


def _is_in(path: bytes, folders: Collection[bytes]) -> bool:
    return any(path == one or path.startswith(one + b"/") for one in folders)


def _whole(part: Part | None, nodes: Reading, *, added: bool = False) -> tuple[Changed, ...]:
    """All of a part that one of two seals has alone."""
    if part is None:
        return ()
    change = Change.ADDED if added else Change.REMOVED
    below = [(b"", part.root), *nodes.walk(part.root)]
    return tuple(
        Changed(path, change, None if added else entry, entry if added else None) for path, entry in below
    )


# --- the document ---------------------------------------------------------------------------------------


def _document(seal: Seal) -> dict[str, Json]:
    more: dict[str, Json] = {"examined": dict(seal.examined)} if seal.examined is not None else {}
    if seal.repositories:
        more["repositories"] = repositories.document_of(seal.repositories)
    if seal.links is not None:
        more["links"] = aliases.document_of(seal.links)
    if seal.looked is not None:
        more["read"] = _described(seal.looked)
    return {
        **more,
        "schema": SCHEMA,
        "seal": seal.seal,
        "made_at": seal.made_at,
        "host": seal.host,
        "user": seal.user,
        "parts": [
            {
                "name": part.name,
                "path": escaped(os.fsencode(part.path)),
                "kind": part.root.kind,
                "mode": part.root.mode,
                "size": part.root.size,
                "root": escaped(part.root.name),
                "digest": part.root.digest,
                "target": escaped(part.root.target),
                **({"without": _escaped(part.without)} if part.without else {}),
                **({"only": _escaped(part.only)} if part.only else {}),
            }
            for part in seal.parts
        ],
        "unread": [
            {"part": part, "path": one.path, "reason": one.reason} for part, one in seal.unread[:MAX_UNREAD]
        ],
        "unread_count": len(seal.unread),
    }


def _described(looked: Looked) -> Json:
    return {
        "level": str(looked.level),
        "files": looked.files,
        "read": looked.read,
        "by_kernel": looked.by_kernel,
        "by_stat": looked.by_stat,
        "bytes": looked.size,
    }


def _looked_of(value: Mapping[str, Json]) -> Looked:
    try:
        level = level_of(_text(value, "level"))
    except UsageError as error:
        raise EvidenceError("the seal was read at no known level") from error
    counts = [_number(value, name) for name in ("read", "by_kernel", "by_stat", "bytes")]
    return Looked(level, counts[0], counts[1], counts[2], counts[3])


def _seal_of(document: Mapping[str, Json]) -> Seal:
    if document.get("schema") != SCHEMA:
        raise EvidenceError(f"the seal is of schema {document.get('schema')!r}, which is not known here")
    parts, unread = document.get("parts"), document.get("unread")
    if not isinstance(parts, list) or not 0 < len(parts) <= MAX_PARTS or not isinstance(unread, list):
        raise EvidenceError("the seal has no parts")
    found = tuple(map(_part_of, parts))
    if len({part.name for part in found}) != len(found):
        raise EvidenceError("two parts of the seal have one name")
    return Seal(
        _text(document, "seal"),
        _number(document, "made_at"),
        _text(document, "host"),
        _text(document, "user"),
        found,
        tuple(
            (_text(one, "part"), Unread(_text(one, "path"), _text(one, "reason")))
            for one in map(_object, unread)
        ),
        _object(document["examined"]) if "examined" in document else None,
        repositories=repositories.read_states(document.get("repositories", [])),
        links=aliases.read_links(document["links"]) if "links" in document else None,
        looked=_looked_of(_object(document["read"])) if "read" in document else None,
    )


def _part_of(value: Json) -> Part:
    part = _object(value)
    kind, digest = _text(part, "kind"), _text(part, "digest")
    if kind not in KINDS or len(kind) != 1:
        raise EvidenceError(f"the seal has a part of no known kind: {kind[:40]!r}")
    entry = TreeEntry(
        kind,
        _number(part, "mode"),
        _number(part, "size"),
        unescaped(_text(part, "root")),
        digest,
        unescaped(_text(part, "target")),
    )
    path = os.fsdecode(unescaped(_text(part, "path")))
    return Part(_text(part, "name"), path, entry, _places(part, "without"), _places(part, "only"))


def _places(part: Mapping[str, Json], name: str) -> tuple[str, ...]:
    places = part.get(name, [])
    if not isinstance(places, list) or not all(isinstance(one, str) for one in places):
        raise EvidenceError("the seal has a malformed part")
    return tuple(os.fsdecode(unescaped(str(one))) for one in places[:MAX_CHOSEN])


def _escaped(places: Sequence[str]) -> list[Json]:
    return [escaped(os.fsencode(one)) for one in places]


def _within(path: str, root: str) -> bool:
    return path == root or path.startswith(root.rstrip(os.sep) + os.sep)


def _object(value: Json) -> Mapping[str, Json]:
    if not isinstance(value, dict):
        raise EvidenceError("the seal has a malformed part")
    return value


def _text(value: Mapping[str, Json], name: str) -> str:
    return text_of(value, name, of="the seal")


def _number(value: Mapping[str, Json], name: str) -> int:
    return number_of(value, name, of="the seal")


def _bytes_of(path: Path) -> bytes:
    """A small regular file's bytes; raises EvidenceError when it is none."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        with open(os.open(path, flags), "rb") as file:
            data = file.read(MAX_ENVELOPE + 1)
    except OSError as error:
        raise EvidenceError(f"{path} cannot be read: {error.strerror}") from error
    if len(data) > MAX_ENVELOPE:
        raise EvidenceError(f"{path} is larger than {MAX_ENVELOPE >> 20} MiB")
    return data
