"""A Python source file as facts: what it does to training, where, and what decides whether it does.

A fact says what is written there and judges nothing. All facts of a file come from one walk over its syntax
tree; nothing is executed.
"""

from __future__ import annotations

from dataclasses import dataclass

from .root import Observation

STEP, RANK, MAIN, WORLD, HOST, DATE, USER, ENVIRONMENT, CHANCE, FILE, INPUT = TRIGGERS = (
    "step",
    "rank",
    "main process",
    "number of processes",
    "host",
    "date",
    "user",
    "environment variable",
    "chance",
    "file",
    "input",
)
"""What a condition may ask for that has nothing to do with what is computed.

``rank`` is one process out of several, ``main process`` the first one, which saves and logs everywhere.
``input``: particular elements of the data.
"""


@dataclass(frozen=True, slots=True)
class Guard:
    """A condition around a fact: its line, its text, and the triggers that it asks for.

    ``exact``: it holds at single steps (a remainder, an equality) and not from one on. ``fixed``: what it
    compares with is a number of the text and no setting. ``added``: the change brought it.
    """

    line: int
    text: str
    triggers: frozenset[str]
    exact: bool = False
    added: bool = True
    fixed: bool = False


@dataclass(frozen=True, slots=True)
class SourceFact:
    """One thing that a file does.

    ``act`` is its kind: ``edit`` (a value of training is changed; ``what`` names the value), ``patch``
    (something of a library is replaced), ``call`` (a call that ``what`` classifies), ``control`` (something
    about the flow of a step) or ``text`` (something about the characters). ``how`` says in which way,
    ``name`` what it is in the source, as far as that could be resolved. ``amount`` is what it is changed by.
    ``factor`` is that as a number, where it is one.

    ``roles`` are those of the function around (``forward``, ``update``, ``collate`` …), ``trains`` says that
    the line is passed through in each training step. ``triggers`` are all those in guards and in the value
    itself, ``inline`` those of the value alone. ``fixed``: one of them is compared with a number of the text.
    ``added``: the change brought the line; always true of a
    file that was read as a whole.
    """

    act: str
    what: str
    how: str
    name: str
    amount: str
    line: int
    scope: str
    roles: frozenset[str]
    trains: bool
    guards: tuple[Guard, ...]
    inline: frozenset[str]
    exact: bool
    handler: bool
    looped: bool
    added: bool
    excerpt: str
    factor: float | None = None
    fixed: bool = False

    @property
    def triggers(self) -> frozenset[str]:
        """All that the conditions around it, and it itself, ask for."""
        return self.inline.union(*(guard.triggers for guard in self.guards))


@dataclass(frozen=True, slots=True)
class SourceRead(Observation):
    """A source file that was read.

    ``change`` is ``whole`` (a file, read as it is), ``added`` (a change brought the whole file) or
    ``changed`` (a change brought the lines of ``facts`` that are marked so). ``library`` names the package of
    training that it is a part of where the path tells; ``packaged``: it is part of some package, since it
    imports from beside itself. ``test``: it is a test of a package. ``copied`` is the line that says it was
    copied from elsewhere, and empty when none does. ``scheduled``: a scheduler is stepped in it. ``dropped``
    are calls of a training step that the file had before the change and that are gone:
    ``<function>: <call>``.
    """

    path: str
    sha256: str
    lines: int
    change: str
    library: str
    packaged: bool
    test: bool
    copied: str
    scheduled: bool
    facts: tuple[SourceFact, ...]
    dropped: tuple[str, ...] = ()
