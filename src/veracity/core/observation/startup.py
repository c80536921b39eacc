"""What executes in a Python process before its program does."""

from __future__ import annotations

from dataclasses import dataclass

from .root import Observation


@dataclass(frozen=True, slots=True)
class EarlyModule:
    """A module that a process had imported before the guard woke up."""

    name: str
    path: str


@dataclass(frozen=True, slots=True)
class StartedWith(Observation):
    """What the guard found when it woke up: modules from outside the standard library, and warning filters.

    ``more`` counts modules that are not listed. A filter may name a class, whose module Python then imports.
    """

    modules: list[EarlyModule]
    more: int
    warn_options: list[str]


@dataclass(frozen=True, slots=True)
class StartupItem(Observation):
    """One thing that executes at the start of the job's Python, found by the monitor from outside.

    ``kind``: ``pth`` (a line of a .pth file), ``sitecustomize``, ``usercustomize``, ``module`` (imported by
    one of these), ``plugin`` (an entry point that torch or a trainer loads), ``preload`` (a native library
    that the loader maps first), ``profile`` (a file that a shell executes before the job's command),
    ``library`` (a native plug-in that a variable names), ``folder`` (one in which a variable has plug-ins
    looked for), ``cache`` (a folder of compiled code that is loaded again), ``setting`` (a variable that
    changes how the loader or Python starts; ``text`` is its value).
    ``name`` is the module, the variable or the file; ``via`` says what brings it in.
    ``standing``: ``recorded`` (as a RECORD or package database says), ``altered`` (it says something else),
    ``listed`` (a package lists it without a digest), ``library`` (the standard library), ``known`` (written
    by a tool that makes virtual environments), ``guard`` or ``none``. ``owner`` is that package's name.
    ``effect`` is the strongest thing its text does to training: empty, ``imports``, ``hooks``, ``targets``,
    ``replaces`` or ``hides`` (see ``observe.effects``); ``effects`` are the lines that do it.
    ``before``: ``first`` (no earlier run of this environment is known), ``same``, ``new`` or ``changed``.
    ``writers``: who beside root and the job's account may exchange it, empty for nobody and for kinds of
    which nobody asked.
    """

    kind: str
    name: str
    path: str
    line: int
    text: str
    via: str
    sha256: str
    owner: str
    installer: str
    standing: str
    effect: str
    effects: list[str]
    modified_at: int
    before: str
    writers: str = ""


@dataclass(frozen=True, slots=True)
class StartCode(Observation):
    """Code of a file that Python executes at its start because of the file's name, found at rest.

    ``kind``: ``pth`` (one line), ``sitecustomize`` or ``usercustomize``. ``modules``: what it imports,
    ``calls``: full names of what it calls, ``effect``: the strongest that it has on training, as in
    ``StartupItem``. ``unread``: why it could not be read, empty when it was.
    """

    name: str
    kind: str
    line: int
    text: str
    modules: tuple[str, ...]
    calls: tuple[str, ...]
    effect: str
    unread: str
