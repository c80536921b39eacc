"""What a seal says of a git repository: the commit, and all that decides what git shows and starts.

Names and paths stand as in a manifest: printable ASCII, other bytes as ``%XX``. Digests are SHA-256 in hex,
object ids as git has them.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Hook:
    """A file in the folder of hooks; ``runs``: git starts it, by its name and its permissions.

    ``target`` is where it leads when it is a link; then the digest is that of what lies there. An empty
    ``sha256``: it could not be read.
    """

    name: str
    mode: int
    size: int
    sha256: str
    runs: bool
    target: str = ""


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting that makes git start a program, or read from or write to another place.

    ``scope`` is git's: ``system``, ``global``, ``local``, ``worktree`` or ``command``; ``origin`` the file it
    stands in. Secrets in ``value`` are masked.
    """

    scope: str
    origin: str
    key: str
    value: str


@dataclass(frozen=True, slots=True)
class Submodule:
    """What the commit says is in this folder, and what is checked out there; empty when nothing is."""

    path: str
    recorded: str
    checked_out: str


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature of the commit, or of a tag on it.

    ``of`` is ``commit`` or ``tag NAME``; ``key`` the key by the signature's own word: a fingerprint or a
    number. ``standing`` says whether it holds for that key, or why nobody looked. ``signer``: whose key that
    is, by the list of signers that whoever made the seal named; empty without.
    """

    of: str
    kind: str
    key: str
    standing: str
    signer: str = ""


@dataclass(frozen=True, slots=True)
class Unlike:
    """A file that is not as the commit has it; ``hidden``: why ``git status`` does not say so."""

    path: str
    change: str
    hidden: str = ""


@dataclass(frozen=True, slots=True)
class Uncompared:
    """A file that could not be held beside the commit, and why."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Committed:
    """A sealed part and the object, file or folder, that the commit has in its place; empty without one."""

    part: str
    path: str
    object: str


@dataclass(frozen=True, slots=True)
class RepositoryState:
    """A git repository as it was found.

    ``name``: the sealed part it was found from, and the path of a submodule in it. ``root``: the working
    tree; ``folder``: where git keeps what belongs to it, ``common`` what all its working trees share, both
    relative to the root when they lie in it. ``commit`` is empty before the first one, ``branch`` when HEAD
    is detached. ``account``: the user id whose settings were read.

    ``compared`` files of the sealed parts are held beside the commit; ``unlike`` it are those that differ.
    ``untracked`` names files and folders that git does not know and does not ignore, ``ignored`` what only
    the repository's own ``info/exclude`` keeps from being shown. ``flagged`` are files that git is told
    not to look at. ``inside`` has the digest of each file in the git folder that changes what git does, by
    name. ``replaced``: objects that stand for others. ``cut``: what is only told and is not told in full;
    ``unread``: what is compared and could not be found out, and why. ``diff``: the digest of the text of the
    differences, which is kept beside the seal; empty without it.
    """

    name: str
    root: str
    folder: str
    common: str
    algorithm: str
    account: int
    commit: str
    branch: str
    parts: tuple[Committed, ...]
    signatures: tuple[Signature, ...]
    hooks_folder: str
    hooks_by: str
    hooks: tuple[Hook, ...]
    settings: tuple[Setting, ...]
    submodules: tuple[Submodule, ...]
    worktrees: tuple[str, ...]
    inside: tuple[tuple[str, str], ...]
    replaced: tuple[tuple[str, str], ...]
    flagged: tuple[tuple[str, str], ...]
    compared: int
    unlike: tuple[Unlike, ...]
    uncompared: tuple[Uncompared, ...]
    untracked: tuple[str, ...]
    ignored: tuple[str, ...]
    cut: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()
    diff: str = ""

    @property
    def hidden(self) -> tuple[Unlike, ...]:
        """Files that differ from the commit and that ``git status`` does not show."""
        return tuple(one for one in self.unlike if one.hidden)
