"""Bytes of a Python file → facts. Nothing is executed; what cannot be read is a gap.

The file is parsed by the interpreter that Veracity runs under: syntax that is newer than it cannot be read,
and that is said.
"""

from __future__ import annotations

import ast
import hashlib
import re
import sys
import warnings
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Sequence

from ...core.observation.gap import Gap
from ...core.observation.source import SourceFact, SourceRead
from ...core.origin import Origin
from ..pysource import decode
from . import flow, text, vocabulary
from .neighbours import Beside, neighbours_of
from .record import Recorder
from .scopes import Exports, Foreign, Names, TooComplexError, Unknown, parts_of
from .walker import TooDeepError, Walker

MAX_BYTES = 4 << 20 if sys.version_info >= (3, 11) else 1 << 18
"""The parser of Python 3.10 can be made to end its process by a long text without line ends."""
LAW = "training-code"
_COPIED = re.compile(
    rb"(?im)^\s*(?:#|\"\"\"|'''|//)?.*\b(?:vendored|copied verbatim|copied from|taken verbatim)\b.{0,120}?"
    rb"(?:\bv?\d+\.\d+(?:\.\d+)?\b|\b[0-9a-f]{12,40}\b).*$"
)
_LINE_END = re.compile(r"\r\n|\r|\n")
"""Where a line ends for Python's parser, which is not everywhere that ``splitlines`` thinks so."""
_MARKED = (ast.Call, ast.ClassDef, ast.Import, ast.ImportFrom)
_INSTALLED = frozenset(("site-packages", "dist-packages"))
_TESTS = frozenset(("tests", "test", "testing", "_testing"))


def read_code(
    origin: Origin,
    path: str,
    data: bytes,
    *,
    added: Sequence[int] | None = None,
    before: bytes | None = None,
    beside: Beside | None = None,
) -> list[SourceRead | Gap]:
    """The facts of one file, and a gap where something of it was not read.

    ``added``: the numbers of the lines that a change brought, from 1; None reads the file as a whole.
    ``before``: the file before the change, when there was one. ``beside`` gives files by their path from this
    one's folder, so that names are followed that it imports from them.
    """
    recorder, failure = _walk(data, added, beside)
    if recorder is None:
        remedy = "read it with the Python it is written for, or look at it yourself"
        return [Gap(origin, path, failure, remedy, law=LAW)]
    found: list[SourceRead | Gap] = [_read(origin, path, data, recorder, added, before)]
    if recorder.overflow:
        found.append(
            Gap(origin, path, "it does more things than are listed", "look at the file yourself", law=LAW)
        )
    return found


def _read(
    origin: Origin,
    path: str,
    data: bytes,
    recorder: Recorder,
    added: Sequence[int] | None,
    before: bytes | None,
) -> SourceRead:
    facts = recorder.facts() + _of_text(recorder, data)
    library = library_of(path, data)
    change = "whole" if added is None else "changed" if before is not None else "added"
    copied = _COPIED.search(data[:4096]) if before is not None else None
    return SourceRead(
        origin,
        path,
        hashlib.sha256(data).hexdigest(),
        data.count(b"\n") + bool(data and not data.endswith(b"\n")),
        change,
        library,
        bool(library) or _is_packaged(path, data),
        _is_test(path, recorder, library),
        copied[0].decode("utf-8", "replace").strip()[:200] if copied is not None else "",
        any(one.kinds & vocabulary.SCHEDULER and one.name == "step" for one in recorder.key_calls),
        facts,
        _dropped(recorder, before) if before is not None else (),
    )


def _walk(
    data: bytes, added: Sequence[int] | None, beside: Beside | None = None, steps: int = 0
) -> tuple[Recorder | None, str]:
    if len(data) > MAX_BYTES:
        return None, f"it is larger than {MAX_BYTES:,} bytes"
    source = decode(data)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(data)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = getattr(error, "lineno", None)
        where = f" at line {line}" if line else ""
        return None, f"it cannot be parsed by Python {sys.version_info[0]}.{sys.version_info[1]}{where}"
    recorder = Recorder(_LINE_END.split(source), _added(added), Names(len(data)), changed=added is not None)
    recorder.saves_optimizer = b"optim" in data and b"state_dict()" in data
    try:
        marked = [one for one in parts_of(tree) if isinstance(one, _MARKED)]
        if beside is not None:
            imports = [one for one in reversed(marked) if isinstance(one, (ast.Import, ast.ImportFrom))]
            recorder.names.foreign = neighbours_of(imports, beside, _exports, steps)
        Walker(recorder).module(tree, marked)
        flow.left_out(recorder)
        flow.not_restored(recorder)
        flow.passed_over(recorder)
        flow.left_in_evaluation(recorder)
        recorder.oddities = text.far_right(tree) if b";" in data else []
    except (TooDeepError, RecursionError):
        return None, "its statements or expressions lie in each other too deep"
    except TooComplexError:
        return None, "its expressions are too many to be followed"
    return recorder, ""


def _exports(data: bytes, beside: Beside, steps: int) -> Exports:
    """What a neighbour defines for those who import from it; nothing where it cannot be read."""
    recorder, _ = _walk(data, None, beside, steps)
    if recorder is None:
        return Exports()
    names = recorder.names
    values = names.module.values.items()
    waiting = recorder.waiting()
    try:
        functions = {
            name: Foreign(
                vocabulary.sum_of(recorder.reading.summary(one) for one in some[:2]),
                vocabulary.sum_of(recorder.reading.choosing(one) for one in some[:2]),
                recorder.transforms.made_by(name),
                name in waiting,
            )
            for name, some in names.functions.items()
            if name in names.module.values
        }
    except TooComplexError:
        functions = {}
    return Exports(
        {
            name: one.constant
            for name, one in values
            if not isinstance(one.constant, Unknown) and names.stored.get(name, 0) < 2
        },
        {name: one.asked for name, one in values if one.asked},
        functions,
    )


def _added(lines: Sequence[int] | None) -> Callable[[int, int], bool]:
    if lines is None:
        return lambda first, last: True
    ordered = sorted(lines)

    def brought(first: int, last: int) -> bool:
        place = bisect_left(ordered, first)
        return place < len(ordered) and ordered[place] <= last

    return brought


def _of_text(recorder: Recorder, data: bytes) -> tuple[SourceFact, ...]:
    found = [
        *text.odd_encoding(data),
        *text.oddities(data, "\n".join(recorder.lines) + "\n"),
        *recorder.oddities,
    ]
    nobody: frozenset[str] = frozenset()
    return tuple(
        SourceFact(
            "text",
            one.what,
            one.how,
            one.name,
            "",
            one.line,
            "",
            nobody,
            False,
            (),
            nobody,
            False,
            False,
            False,
            recorder.added(one.line, one.line),
            recorder.text(one.line).encode("ascii", "backslashreplace").decode(),
        )
        for one in found
    )


def _dropped(recorder: Recorder, before: bytes) -> tuple[str, ...]:
    """Calls of a training step that stood in the file before and stand nowhere in it now."""
    old, _ = _walk(before, None)
    if old is None:
        return ()
    was, now = flow.key_calls(old), flow.key_calls(recorder)
    functions = {flow.path_of(scope) for scope in recorder.entered} | {""}
    whole_before, whole_now = _of_file(was), _of_file(now)
    found = []
    for key in was:
        function, _, call = key.rpartition(": ")
        # Moved to another function is not gone.
        if now[key] < was[key] and whole_now[call] < whole_before[call] and function in functions:
            found.append(key)
    return tuple(sorted(found))


def _of_file(counted: Counter[str]) -> Counter[str]:
    total: Counter[str] = Counter()
    for key, times in counted.items():
        total[key.rpartition(": ")[2]] += times
    return total


def library_of(path: str, data: bytes) -> str:
    """The package of a library of training that a file is a part of; empty when it is none that is known.

    A folder that is called like one is not enough, since people call their own so: the path has to lead
    through installed packages or into the library's own folders, or the file has to import from beside it.
    """
    parts = path.replace("\\", "/").split("/")
    for place, part in enumerate(parts[:-1]):
        if part in vocabulary.PACKAGES:
            own = part == "torch" and vocabulary.TORCH_FOLDERS.fullmatch(parts[place + 1]) is not None
            if own or _INSTALLED & set(parts[:place]) or _imports_beside(data):
                return part
    return ""


def _imports_beside(data: bytes) -> bool:
    return data.startswith(b"from .") or b"\nfrom ." in data


def _is_packaged(path: str, data: bytes) -> bool:
    """Whether a file imports from its own package: relatively, or by the name of a folder that it lies in."""
    if _imports_beside(data):
        return True
    parts = {
        part.encode("utf-8", "replace") for part in path.replace("\\", "/").split("/")[:-1] if len(part) > 2
    }
    return any(b"\nfrom " + part + b"." in data or b"\nimport " + part + b"." in data for part in parts)


def _is_test(path: str, recorder: Recorder, library: str) -> bool:
    """Whether a file is a package's test: by its place and by what it defines."""
    parts = path.replace("\\", "/").split("/")
    placed = bool(_TESTS & set(parts[:-1])) or parts[-1].startswith("test_") or parts[-1] == "conftest.py"
    defines = any(scope.name.startswith(("test_", "Test")) for scope in recorder.entered)
    return placed and (defines or bool(library))
