"""What one part of a seal, or a git repository that it speaks of, is now beside what it was."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..core.level import Looked
from ..core.repository import RepositoryState
from ..observe.links import Names
from ..observe.marks import Mark
from ..observe.tree import Unread
from .compare import Change, Changed
from .repositorychange import RepositoryChanged


@dataclass(frozen=True, slots=True)
class Difference:
    """What of one part is not as it was sealed, or could not be read now; ``marks`` by path.

    ``names``: by path, other names of files that changed. Of a git repository ``repository`` is what it is
    now and ``git`` what changed; its ``marks`` are by absolute path. ``notes``: what is told and no change.
    ``looked``: how a part was read; None when no files were.
    """

    part: str
    changed: tuple[Changed, ...]
    unread: tuple[Unread, ...]
    files: int
    size: int
    marks: Mapping[bytes, Mark] = field(default_factory=dict)
    names: Mapping[bytes, Names] = field(default_factory=dict)
    git: tuple[RepositoryChanged, ...] = ()
    repository: RepositoryState | None = None
    notes: tuple[str, ...] = ()
    looked: Looked | None = None

    @property
    def differs(self) -> bool:
        """Whether something is known to be another than it was."""
        return any(one.change is not Change.UNREAD for one in self.changed) or any(
            one.differs for one in self.git
        )

    @property
    def is_complete(self) -> bool:
        """Whether everything could be read, then and now."""
        return not self.unread and all(one.change is not Change.UNREAD for one in self.changed)
