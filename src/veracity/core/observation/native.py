"""Native libraries: what the loader would map before a program runs, and what is mapped while it does."""

from __future__ import annotations

from dataclasses import dataclass

from .root import Observation


@dataclass(frozen=True, slots=True)
class LibraryResolved(Observation):
    """A library outside an environment that its interpreter or its packages would have the loader map.

    ``name`` is what was looked for, ``needed_by`` the object that names it, ``by`` what of the search led to
    ``path``: ``RPATH``, ``RUNPATH``, ``LD_LIBRARY_PATH``, ``ld.so.cache``, ``default folder``, ``path``,
    ``PT_INTERP`` or ``DT_AUDIT``. ``before``: the next file of that name in the search, which this one stands
    in front of. ``standing``: ``recorded`` (as a package database says), ``altered`` (it says something
    else), ``listed`` (a package lists it without a digest), ``installation`` (it lies in the installation of
    the interpreter, for which no package vouches), ``none``, ``missing`` (nothing of that name was found:
    no ``path``) or ``unread`` (an object whose libraries could not be told). ``writers``: who beside its
    owner and root may put another in its place, empty for nobody. ``own``: it belongs to the account that
    looked, and not to root.
    """

    name: str
    path: str
    by: str
    needed_by: str
    before: str
    sha256: str
    standing: str
    owner: str
    installer: str
    writers: str
    uid: int
    user: str
    changed_at: int
    own: bool


@dataclass(frozen=True, slots=True)
class SearchFolder(Observation):
    """A folder in which an object (DT_RPATH, DT_RUNPATH) or LD_LIBRARY_PATH has libraries looked for.

    Only those that are ``relative`` or empty, or into which ``writers`` beside the owner may put something.
    ``text`` is the element as it stands there. ``vouched``: an archive or package vouches for the object.
    """

    of: str
    by: str
    text: str
    relative: bool
    writers: str
    vouched: bool


@dataclass(frozen=True, slots=True)
class LibraryMapped(Observation):
    """A native library in the memory of a process of the job, beside the seal that the run was started on.

    ``sealed`` as in ``ModuleChecked``, and ``missing`` when the file is gone that was mapped. ``memory``:
    whether the mapped code is that of the file at ``path``, where another file lies there than was mapped:
    ``same``, ``differs``, ``unread``; empty where the same file lies there. ``made``: it was written after
    the run began. ``standing``, ``owner`` and ``writers`` as in ``LibraryResolved``, for one in no part of
    the seal; ``whose``: the file is of ``root``, of the ``job``'s own account, or of an ``other`` one.
    """

    path: str
    sha256: str
    size: int
    reason: str
    sealed: str
    memory: str
    made: bool
    standing: str
    owner: str
    writers: str
    whose: str
