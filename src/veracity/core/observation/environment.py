"""What an environment's files are, beside the archives that they were installed from."""

from __future__ import annotations

from dataclasses import dataclass

from .root import Observation


@dataclass(frozen=True, slots=True)
class FileDifference:
    """A file that is not as its archive has it.

    ``change``: ``content``; ``claimed`` (another content, and a distribution that was compared with no
    archive has the path in its RECORD, too); ``kind`` (no file any more), ``missing``, ``script`` (it does
    more than start its command, or under another interpreter), ``executable`` (made so) or ``record`` (the
    file is as in the archive, and RECORD beside it says something else). ``expected``, ``observed`` and
    ``recorded`` are the SHA-256 (or, of a large file, the tree's digest) in the archive, on disk and in
    RECORD; empty where there is none. ``uid`` -1 and ``changed_at`` 0 when the file is not there;
    ``changed_at`` (ctime) in ns.
    """

    path: str
    change: str
    expected: str
    observed: str
    recorded: str
    uid: int
    user: str
    changed_at: int


@dataclass(frozen=True, slots=True)
class DistributionCompared(Observation):
    """An installed distribution and its archive.

    ``standing``: ``compared``; ``system`` (a package of the operating system, compared with the MD5 that its
    database has); ``content`` (an editable or local install: there is no archive);
    ``unlocked`` (no lock names it), ``version`` (the lock names another version: ``reason``), ``absent``
    (the archive is named but could not be had: ``reason``). ``archive`` and ``sha256`` name what it was
    compared with, ``named_by`` what vouches for that digest. ``files``: how many were compared;
    ``differing`` those that differ, ``more`` how many beside these. ``unlike_record``: files that the
    archive's own RECORD names otherwise.
    """

    name: str
    version: str
    directory: str
    installer: str
    standing: str
    reason: str
    archive: str
    sha256: str
    named_by: str
    files: int
    differing: list[FileDifference]
    more: int
    unlike_record: list[str]


@dataclass(frozen=True, slots=True)
class StrayFile(Observation):
    """A file in an environment that came with no archive and that no other distribution's RECORD names.

    ``kind``: ``startup`` (executes at the start of Python), ``metadata`` (of a distribution: may name entry
    points), ``library`` (the loader maps it), ``module`` (can be imported) or ``bytecode`` (a .pyc that is
    imported without a source). ``recorded_by`` is the distribution whose RECORD
    names it though its archive does not have it.
    """

    path: str
    kind: str
    sha256: str
    size: int
    recorded_by: str
    uid: int
    user: str
    changed_at: int


@dataclass(frozen=True, slots=True)
class BytecodeCompared(Observation):
    """A .pyc file and the source that it would be loaded for.

    ``standing``: ``same``; ``stale`` (Python would compile the source again); ``waiting`` (stale and other
    code, while the source is as its archive has it: with the source's time set to the one in its header,
    Python would load it); ``forged``; ``archived`` (the same, but its archive has it so); ``unchecked-hash``
    (Python loads it whatever the source is, and it is the source's); ``orphan`` (there is no source, and
    Python does not load it); ``unread`` (``reason`` says why).
    """

    path: str
    source: str
    standing: str
    reason: str
    uid: int
    user: str
    changed_at: int


@dataclass(frozen=True, slots=True)
class WheelCompared(Observation):
    """A wheel that is not installed, compared with its own RECORD.

    ``altered``: files with another digest there, ``unlisted``: files that are not in it, or without digest.
    ``commands``: names of the programs that it installs. ``plugins``: group, target and loader of entry
    points that are loaded without a program asking. ``roots``: names by which its modules are imported, those
    that it puts beside Python's own included.
    """

    name: str
    distribution: str
    version: str
    altered: tuple[str, ...]
    unlisted: tuple[str, ...]
    commands: tuple[str, ...]
    plugins: tuple[tuple[str, str, str], ...]
    roots: tuple[str, ...] = ()
