"""What a pickle would do when it is loaded, as data: operations in their order, and the values they work on.

A pickle is a program for a small stack machine. ``observe/pickle/`` follows that program with the semantics
of CPython's C unpickler (``Modules/_pickle.c``) without running anything, and writes down what has an
effect: which globals it would import, what it would call with which arguments, whose state it would set.
Rules judge a :class:`PickleProgram`; a loader makes data of the same one, so that no second parser can
disagree with the first.

**Values** form a graph: scalars stand for themselves (``None``, ``bool``, ``int``, ``float``, ``str``,
``bytes``), long ones are a :class:`Text` or an :class:`Octets` that says where they lie, all else is a
node. Two places of a stream that would hold one object hold one node, so ``is`` tells identity. The graph
may have cycles and is as hostile as the stream: whoever walks it bounds depth and count, and neither hashes
nor compares nodes (tuples of values, which are Python's own, included: ``==`` on them goes down without a
bound).

Values and operations are not frozen: a frozen one takes four times as long to make, and a pickle of a
kilobyte has a hundred. Nobody changes one but the machine, while it fills
**nodes that grow** (:class:`ListOf`, :class:`DictOf`, :class:`SetOf`) are filled by the machine alone,
which is why they are not frozen. They hold all their children when the machine recorded values, else the
first :data:`MAX_KEPT` of them; ``more`` counts the rest and ``kinds`` says of what kinds *all* children
are.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias, Union

MAX_KEPT = 64
"""Children that a list or a set keeps when values are not recorded."""
MAX_KEPT_IN_DICT = 8192
"""The same for a dict, keys and values counted."""
MAX_SHORT = 1024
"""Longest str, bytes or int, in bytes of the stream, that a value holds itself."""


class Kind(enum.IntFlag):
    """What a child of a growing node is, for the union over all of them."""

    NONE = 1
    BOOL = 2
    INT = 4
    FLOAT = 8
    STR = 16
    BYTES = 32
    TUPLE = 64
    CONTAINER = 128
    GLOBAL = 256
    RESULT = 512
    PERSISTENT = 1024
    BUFFER = 2048


@dataclass(slots=True, eq=False, repr=False)
class Text:
    """A long str: ``length`` bytes of the stream from offset ``at``, written in ``encoding``.

    ``utf-8`` has surrogates passed through; ``raw-unicode-escape``; ``string-escape`` is protocol 0's quoted
    form, ``8-bit`` the binary one: both are read as ASCII unless the caller of the unpickler says otherwise.
    """

    at: int
    length: int
    encoding: str = "utf-8"


@dataclass(slots=True, eq=False, repr=False)
class Octets:
    """Long bytes, or a long int (``integer``: two's complement, little-endian; ``decimal``: as digits)."""

    at: int
    length: int
    integer: bool = False
    decimal: bool = False


@dataclass(slots=True, eq=False, repr=False)
class ByteArray:
    """A bytearray that the stream makes."""

    at: int
    length: int


@dataclass(slots=True, eq=False, repr=False)
class Buffer:
    """The ``index``-th out-of-band buffer (from 0), which the caller of the unpickler has to hand in."""

    index: int
    readonly: bool


@dataclass(slots=True, eq=False, repr=False)
class ListOf:
    """A list. ``at`` is where the opcode stands that made it."""

    at: int
    items: list[Value] = field(default_factory=list)
    more: int = 0
    kinds: int = 0


@dataclass(slots=True, eq=False, repr=False)
class DictOf:
    """A dict: ``items`` holds key, value, key, value … as they were set; a key may come again.

    ``kinds`` is of the values; ``more`` counts children, two for each pair.
    """

    at: int
    items: list[Value] = field(default_factory=list)
    more: int = 0
    kinds: int = 0


@dataclass(slots=True, eq=False, repr=False)
class SetOf:
    """A set or, when ``frozen``, a frozenset; an element may come again."""

    at: int
    frozen: bool
    items: list[Value] = field(default_factory=list)
    more: int = 0
    kinds: int = 0


@dataclass(slots=True, eq=False, repr=False)
class Global:
    """What an import yields. ``name`` may have dots, which lead through attributes.

    ``module`` and ``name`` are those that are imported: a stream that has announced no protocol above 2
    uses the names of Python 2, which the unpickler maps. ``written`` has them as they stand in the stream.
    ``extension``: the code of the ``copyreg`` registry that was used instead (module and name are empty
    then), else 0. ``dotted``: whether the unpickler follows dots in ``name`` (it does from protocol 4 on,
    else it fails). ``computed``: the stream makes the names while it runs, by a call, say: they are not known
    and empty.
    """

    at: int
    module: str
    name: str
    written: tuple[str, str]
    extension: int = 0
    dotted: bool = True
    computed: bool = False


@dataclass(slots=True, eq=False, repr=False)
class Result:
    """What a call returns."""

    call: Call


@dataclass(slots=True, eq=False, repr=False)
class PersistentObject:
    """What the caller's ``persistent_load`` returns for ``identifier``."""

    at: int
    identifier: Value


@dataclass(slots=True, eq=False, repr=False)
class Unknown:
    """A value that cannot be known, and why; rules take it for the worst."""

    at: int
    reason: str


Value: TypeAlias = Union[
    None, bool, int, float, str, bytes, "tuple[Value, ...]", Text, Octets, ByteArray, Buffer,
    ListOf, DictOf, SetOf, Global, Result, PersistentObject, Unknown,
]  # fmt: skip
"""All there is on the machine's stack; a ``tuple`` is a tuple of values."""


class Form(str, enum.Enum):
    """The opcode by which something is called or filled."""

    REDUCE = "REDUCE"
    OBJ = "OBJ"
    INST = "INST"
    NEWOBJ = "NEWOBJ"
    NEWOBJ_EX = "NEWOBJ_EX"
    APPEND = "APPEND"
    APPENDS = "APPENDS"
    SETITEM = "SETITEM"
    SETITEMS = "SETITEMS"
    ADDITEMS = "ADDITEMS"


@dataclass(slots=True, eq=False, repr=False)
class Import:
    """``find_class`` is asked for a global."""

    at: int
    value: Global


@dataclass(slots=True, eq=False, repr=False)
class Call:
    """``callable(*arguments, **keywords)``; for NEWOBJ and NEWOBJ_EX ``callable.__new__(callable, …)``.

    ``arguments`` is a tuple in every stream that a pickler writes. A stream can put anything there (a
    Result, a list), and an object of another type is unpacked or refused depending on what it is: then it
    is that value. ``keywords`` is None except for NEWOBJ_EX. What the call returns is the :class:`Result`
    that names it.
    """

    at: int
    form: Form
    callable: Value
    arguments: Value
    keywords: Value = None


@dataclass(slots=True, eq=False, repr=False)
class Build:
    """``target.__setstate__(state)`` or, without one, an update of ``target.__dict__`` and attributes set by
    ``setattr`` (``state`` is then a dict, or a pair of dicts whose second names slots).
    """

    at: int
    target: Value
    state: Value


@dataclass(slots=True, eq=False, repr=False)
class Fill:
    """Items put into ``target`` by its own methods (``append``/``extend``, ``__setitem__``, ``add``).

    Always written down when ``target`` is no list, dict or set of the stream's own; of those only when
    values are recorded, so that who rebuilds the data knows what they held at each call. ``items`` are
    children (keys and values in turn for SETITEM and SETITEMS), all of them or the first :data:`MAX_KEPT`;
    ``more`` counts the rest.
    """

    at: int
    form: Form
    target: Value
    items: tuple[Value, ...]
    more: int = 0
    kinds: int = 0


@dataclass(slots=True, eq=False, repr=False)
class Persistent:
    """``persistent_load`` is asked for an object; without one the unpickler fails here."""

    at: int
    value: PersistentObject


@dataclass(slots=True, eq=False, repr=False)
class TakeBuffer:
    """An out-of-band buffer is taken, or made read-only; without ``buffers`` the unpickler fails here."""

    at: int
    value: Value


Operation: TypeAlias = Import | Call | Build | Fill | Persistent | TakeBuffer


class End(str, enum.Enum):
    """How a program ends."""

    STOP = "stop"
    TRUNCATED = "truncated"
    ERROR = "error"
    LIMIT = "limit"


@dataclass(frozen=True, slots=True)
class Ending:
    """How and at which offset it ended; ``reason`` is a sentence, empty for STOP.

    ``LIMIT``: the machine stopped, the unpickler would go on. Operations before the end have taken place
    all the same.
    """

    kind: End
    at: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Doubt:
    """A place where some readers go on and others stop, or read other bytes. The machine went on.

    ``kind``: ``frame`` (versions of CPython differ in what they read), ``error`` (an object that cannot be
    known decides whether the unpickler fails, or the caller does: its encoding, its buffers).
    """

    at: int
    kind: str
    reason: str


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class PickleProgram:
    """One pickle, from its first opcode to STOP or to where it breaks.

    ``start``: its offset in the input, ``consumed`` bytes long. ``protocol``: the highest announced, 0 when
    none is. ``result``: what STOP returns. ``leftover``: values and marks under it, which no unpickler
    minds and no pickler leaves. ``reading``: ``memory`` (as ``pickle.loads`` and all versions where they
    agree) or ``stream`` (as versions before 3.13.15 and 3.14.7 read a file: what an opcode leaves of a
    frame that it reaches out of is skipped, and not counted in offsets) or ``joblib`` (which has the bytes
    of arrays among the opcodes; ``plain`` is then the reading of an unpickler that does not know of that).
    ``others``: further readings, where they differ. ``embedded``: pickles in bytes that a call unpickles
    again.
    """

    start: int
    consumed: int
    protocol: int
    operations: tuple[Operation, ...]
    ending: Ending
    result: Value = None
    leftover: int = 0
    reading: str = "memory"
    doubts: tuple[Doubt, ...] = ()
    others: tuple[PickleProgram, ...] = ()
    embedded: tuple[PickleProgram, ...] = ()


def imports_of(program: PickleProgram) -> Iterator[Global]:
    """The globals that a program imports, in further readings and in what it unpickles again, too.

    Without those of a reader that takes the bytes of arrays for opcodes, and without those of unknown name.
    """
    for operation in program.operations:
        if isinstance(operation, Import) and not (operation.value.computed or operation.value.extension):
            yield operation.value
    for one in (*program.others, *program.embedded):
        if one.reading != "plain":
            yield from imports_of(one)
