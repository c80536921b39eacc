"""What a planting is, and what must be told of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .place import Place, Said, TakenError

BATCH = 12
DRIFTED = "contract-seal-drifted"
"""Told of each run on a seal that is not what is there any more; it names files within parts of the seal."""


@dataclass(frozen=True, slots=True)
class Sign:
    """What must be told: by which command, under which word, and a part of the path that is named."""

    by: str
    word: str
    path: str

    def is_in(self, said: Iterable[Said]) -> bool:
        """Whether it was told."""
        return any(
            (one.by, one.word) == (self.by, self.word) and (self.path in one.path or self.path in one.message)
            for one in said
        )


@dataclass(frozen=True, slots=True)
class Planting:
    """``what``: as people call it; ``variant``: how it was done here.

    ``signs``: all of them must be told. ``variables``: those that the commands are started with, and
    ``command`` what is run in place of the program. ``alone``: it shares no environment with others.
    ``sealed``: a run is started on the seal. ``awaits``: what cannot tell of it yet, empty when all can.
    """

    what: str
    variant: str
    plant: Callable[[Place], object]
    signs: Sequence[Sign]
    variables: Mapping[str, str] = field(default_factory=dict)
    command: Callable[[Place], Sequence[str | Path]] | None = None
    alone: bool = False
    sealed: bool = True
    awaits: str = ""

    @property
    def is_run(self) -> bool:
        """Whether a run must tell of it, not a look at files."""
        return any(sign.by == "run" for sign in self.signs)


@dataclass(frozen=True, slots=True)
class Row:
    """What became of a planting: ``missed`` are signs that were not told, ``unasked`` what else was told."""

    what: str
    variant: str
    by: str
    missed: tuple[str, ...] = ()
    unasked: tuple[str, ...] = ()
    awaits: str = ""


def try_all(place: Place, plantings: Sequence[Planting]) -> Iterator[Row]:
    """Plant each, together with others where they do not meet, and ask the commands."""
    for one in plantings:
        if one.awaits:
            yield Row(one.what, one.variant, "", awaits=one.awaits)
    waiting = [one for one in plantings if not one.awaits]
    for one in [one for one in waiting if one.alone or one.variables or one.is_run]:
        waiting.remove(one)
        yield from _try(place, [one])
    while waiting:
        yield from _try(place, waiting)


def _try(place: Place, waiting: list[Planting]) -> Iterator[Row]:
    """Plant as many as fit, take them from ``waiting``, and yield their rows."""
    planted: list[Planting] = []
    try:
        for one in list(waiting):
            if len(planted) == BATCH:
                break
            try:
                with place.whole():
                    one.plant(place)
            except TakenError:
                if not planted:
                    raise
                continue
            waiting.remove(one)
            planted.append(one)
        said = list(_asked(place, planted))
        strange = tuple(_unasked(said, place, [sign for one in planted for sign in one.signs]))
    finally:
        place.put_back()
    for one in planted:
        missed = tuple(f"{s.by}: {s.word}: {s.path}" for s in one.signs if not s.is_in(said))
        commands = " + ".join(dict.fromkeys(sign.by for sign in one.signs))
        yield Row(one.what, one.variant, commands, missed, strange if one is planted[0] else ())


def _asked(place: Place, planted: Sequence[Planting]) -> Iterator[Said]:
    wanted = {sign.by for one in planted for sign in one.signs}
    first = planted[0]
    variables = {name: value.format(root=place.root) for name, value in first.variables.items()}
    if "seal" in wanted:
        yield from place.sealed(**variables)[1]
    if "verify" in wanted:
        yield from place.verified()
    if "run" in wanted:
        command = first.command(place) if first.command is not None else ()
        yield from place.run(*command, sealed=first.sealed, **variables)


def _unasked(said: Sequence[Said], place: Place, signs: Sequence[Sign]) -> Iterator[str]:
    """What was told and names nothing that was planted; of a finding with several files, none of them."""
    paths = [str(path) for path in place.touched]

    def is_about(one: Said) -> bool:
        names = [path.rpartition("/")[2] for path in paths] if one.word == DRIFTED else paths
        return _names(one, names) or any(sign.is_in([one]) for sign in signs)

    about = {one.message for one in said if one.message and is_about(one)}
    for one in said:
        if one.message not in about and not is_about(one):
            yield f"{one.by}: {one.word}: {one.path}"


def _names(one: Said, paths: Sequence[str]) -> bool:
    return any(
        one.path == path or one.path.startswith(f"{path}/") or path.startswith(f"{one.path}/")
        or path in one.message or path in one.path
        for path in paths
    )  # fmt: skip
