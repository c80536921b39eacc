"""What is looked at besides the trees while the parts of a seal are read: git's files, and names of files."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from ..core.repository import RepositoryState
from ..core.tree import Keep, TreeEntry
from ..observe.git import Repositories
from ..observe.links import Links, Names
from ..observe.marks import mark_of
from ..observe.tree import Asked, Progress, Reading, Seen, Unread
from . import repositories
from .compare import Change
from .difference import Difference
from .reading import Look, read_part
from .repositorychange import GitChange, RepositoryChanged, compare_states

GIT = ".git"


@dataclass(frozen=True, slots=True)
class Kept:
    """Where nodes are kept, and whether those of a digest are there already."""

    keep: Keep
    holds: Callable[[str], bool]


@dataclass(slots=True)
class Watch:
    """What is looked at besides the trees while parts are read: git's files, and names of files."""

    repositories: Repositories
    links: Links = field(default_factory=Links)

    def left_out(self, place: str) -> list[str]:
        """The folders of git below a place."""
        start = place.rstrip("/") + "/"
        return [one for one in self.repositories.folders if one.startswith(start)]

    def read(
        self,
        path: Path,
        kept: Kept,
        progress: Progress | None,
        skip: Sequence[Path],
        seen: Seen | None,
        look: Look | None,
    ) -> Reading:
        """Read a part; all of it without a ``look``."""
        place = os.path.realpath(path)
        asked = Asked(
            progress,
            _both(seen, self.repositories.seen(place)),
            self.repositories.content(place),
            self.links.named(place),
        )
        reading = read_part(path, kept.keep, look, kept.holds, asked, skip)
        self.repositories.root(place, reading.root)
        return reading

    def unread(self, states: Sequence[RepositoryState]) -> list[tuple[str, Unread]]:
        """What of the repositories could not be found out."""
        lost = [(name, Unread(GIT, reason)) for name, reason in self.repositories.reasons]
        return lost + [(one.name, Unread(GIT, reason)) for one in states for reason in one.unread]

    def with_names(self, one: Difference, path: Path) -> Difference:
        """A difference with the other names of what changed."""
        start = os.fsencode(os.path.realpath(path))
        names = {change.path: self.links.of(_join(start, change.path)) for change in one.changed}
        return replace(one, names={path: its for path, its in names.items() if its != Names()})


def _join(folder: bytes, path: bytes) -> bytes:
    """A path in a part; the part itself has an empty one."""
    return os.path.join(folder, path) if path else folder


def _both(one: Seen | None, other: Seen | None) -> Seen | None:
    """Tells two."""
    if one is None or other is None:
        return one or other

    def seen(path: bytes, entries: Sequence[TreeEntry]) -> None:
        one(path, entries)
        other(path, entries)

    return seen


def changed_in(found: Sequence[Difference], places: Mapping[str, Path]) -> frozenset[bytes]:
    """The files that are known to have changed, absolute, by the places of the parts."""
    return frozenset(
        _join(os.fsencode(places[one.part]), change.path)
        for one in found
        for change in one.changed
        if change.change is not Change.UNREAD
    )


def repositories_now(
    sealed: Sequence[RepositoryState], watch: Watch, changed: Collection[bytes], copies: Collection[str]
) -> Iterator[Difference]:
    """What the repositories of a seal are now.

    ``changed``: files that are not as they were sealed; ``copies``: parts that were read elsewhere.
    """
    if not sealed:
        return
    now = {one.name: one for one in repositories.states_of(watch.repositories)}
    inner = {f"{one.name}/{it.path}" for one in sealed for it in one.submodules}
    lost = dict(watch.repositories.reasons)
    for before in sealed:
        after = now.get(before.name)
        if after is None:
            part = before.name.partition("/")[0]
            yield _gone(before, lost.get(before.name, lost.get(part, "")), part in copies)
            continue
        rows = compare_states(
            before,
            after,
            distance=partial(watch.repositories.distance, before.name),
            changed=changed,
            submodule=before.name in inner,
        )
        marks = {one.place: mark_of(one.place) for one in rows if one.place}
        unread = tuple(Unread(GIT, reason) for reason in after.unread)
        yield Difference(before.name, (), unread, 0, 0, marks, git=tuple(rows), repository=after)


def _gone(before: RepositoryState, reason: str, is_copy: bool) -> Difference:
    """A repository that is not there; a copy elsewhere may be one of the files alone."""
    if reason or is_copy:
        why = reason or "there is no git repository at this place: it was not compared"
        return Difference(before.name, (), (Unread(GIT, why),), 0, 0)
    gone = RepositoryChanged(GitChange.GONE, before.name, f"it was at {before.commit[:12] or 'no commit'}")
    return Difference(before.name, (), (), 0, 0, git=(gone,))


def repositories_between(
    one: Sequence[RepositoryState], other: Sequence[RepositoryState], changed: Collection[bytes]
) -> Iterator[Difference]:
    """What the repositories of two seals, that both have them, differ in."""
    after = {state.name: state for state in other}
    inner = {f"{state.name}/{it.path}" for state in one for it in state.submodules}
    for before in one:
        if before.name in after:
            now = after[before.name]
            rows = compare_states(before, now, changed=changed, submodule=before.name in inner)
            yield Difference(before.name, (), (), 0, 0, git=tuple(rows), repository=now)
