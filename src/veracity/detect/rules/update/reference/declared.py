"""The declared references of a run, which optimizers they are for, and what coverage says about that."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from .....core.errors import UsageError
from .....core.observation import ReferenceDeclared
from ..watched import Watched, bare
from .function import Reference, parse

MAX_REFERENCES = 256
MAX_SHOWN = 4


class References:
    """Collects reference files as they are declared: before the first optimizer."""

    def __init__(self) -> None:
        self._found: list[Reference] = []
        self._digests: dict[str, str] = {}
        self._unread: list[str] = []

    def __iter__(self) -> Iterator[Reference]:
        return iter(self._found)

    def take(self, seen: ReferenceDeclared) -> None:
        """One more file. ``run`` refuses what is not allowed; an old record may hold what was, once."""
        try:
            found = parse(seen.text, seen.path)
        except UsageError as error:
            self._unread.append(f"the declared reference {seen.path[:120]} cannot be read: {error}"[:400])
            return
        self._digests[seen.path] = seen.digest
        self._found = [*self._found, *found][:MAX_REFERENCES]

    def reasons(self, watched: Iterable[Watched]) -> Iterator[str]:
        """Sentences for coverage: what was checked against which file, and what was of no use."""
        yield from self._unread
        every = list(watched)
        for reference in self._found:
            stepped = sorted(
                {one.declared.class_name[:120] for one in every if one.reference is reference and one.steps}
            )
            where = f"{reference.path[:120]}, {self._digests.get(reference.path, '')[:80]}"
            if stepped:
                yield (
                    f"{', '.join(stepped[:MAX_SHOWN])}: checked against a declared reference ({where}), "
                    "which holds what its author wrote"
                )
            else:
                why = _why(reference, every)
                yield f"the declared reference for {reference.name[:80]} ({where}) was of no use: {why}"
            if len(stepped) > 1:
                yield (
                    f"{len(stepped)} classes have the name {reference.name[:80]}: to tell them apart, say "
                    "`optimizer: module.Class` in the reference's docstring"
                )


def _why(reference: Reference, every: list[Watched]) -> str:
    for one in every:
        if reference.fits(one.declared.class_name) and one.steps and one.reference is None:
            return f"{bare(one.declared.class_name)[:80]} is torch's own, or steps by a step of torch's"
    return "no optimizer of that class made a step"
