"""Which globals the pickles in a folder use, and in which shapes: for keeping the policy up to date.

    python -m bench.scan.globals FOLDER [--unknown]

Reads every file of the folder (zip archives by their ``.pkl`` members) without unpickling anything, and
prints one line for each use, with how often it occurs and a file that has it: ``call`` of a callable with
shapes of arguments, ``state`` and ``items`` put into an object, ``name`` for a global that is only named.
``--unknown`` prints only what the packaged policy does not permit. Save objects with a new version of a
library into a folder, run this on it, and see what is new.
"""

from __future__ import annotations

import argparse
import collections
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

from veracity.core.origin import monitor_origin
from veracity.core.picklepolicy import called, made_by
from veracity.core.pickleprogram import (
    Build,
    Call,
    DictOf,
    Fill,
    Global,
    Import,
    ListOf,
    Octets,
    PersistentObject,
    PickleProgram,
    Result,
    SetOf,
    Text,
    Value,
)
from veracity.detect.pickles import judge
from veracity.observe.pickle import walk_all
from veracity.observe.pickle.policy import permitted

IN_A_ROW = 5
MAX_PARTS = 12


def programs(path: Path) -> Iterator[PickleProgram]:
    """Those of one file."""
    data = path.read_bytes()
    if zipfile.is_zipfile(io.BytesIO(data)):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for member in archive.namelist():
                if member.endswith(".pkl"):
                    yield from walk_all(archive.read(member), most=1)
    else:
        yield from walk_all(data, most=IN_A_ROW)


def uses(program: PickleProgram) -> Iterator[str]:
    """Lines for the operations of one program, and of those in its bytes."""
    callables = {id(one.callable) for one in program.operations if isinstance(one, Call)}
    for one in program.operations:
        if isinstance(one, Call):
            yield f"call   {dotted(called(one))} {one.form.value} {shape(one.arguments)}"
        elif isinstance(one, Build):
            target = made_by(one.target) if isinstance(one.target, Result) else None
            yield f"state  {dotted(target)} {shape(one.state)}"
        elif isinstance(one, Fill):
            target = made_by(one.target) if isinstance(one.target, Result) else None
            yield f"items  {dotted(target)} {one.form.value}"
        elif isinstance(one, Import) and id(one.value) not in callables:
            yield f"name   {one.value.module}:{one.value.name}"
    for inner in program.embedded:
        yield from uses(inner)


def dotted(key: tuple[str, str] | None) -> str:
    """A global as the policy writes it."""
    return ":".join(key) if key is not None else "(computed)"


def shape(value: Value, depth: int = 2) -> str:
    """The shape of a value, in the words of the policy."""
    if isinstance(value, tuple):
        parts = [shape(one, depth - 1) for one in value[:MAX_PARTS]] if depth else []
        if len(value) > 3 and len(set(parts)) == 1:
            return f"({parts[0]}*)"
        return f"({', '.join(parts)}{', …' if len(value) > len(parts) else ''})"
    if isinstance(value, Global):
        return f"@{value.module}:{value.name}"
    if isinstance(value, Result):
        return f"<{dotted(made_by(value))}>"
    names: tuple[tuple[type | tuple[type, ...], str], ...] = (
        *((bool, "bool"), (int, "int"), (float, "float"), ((str, Text), "str"), ((bytes, Octets), "bytes")),
        *((ListOf, "list"), (DictOf, "dict"), (SetOf, "set"), (PersistentObject, "persistent")),
    )
    return next((name for kind, name in names if isinstance(value, kind)), "none" if value is None else "any")


def main() -> int:
    """Print the uses, the commonest first."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--unknown", action="store_true")
    arguments = parser.parse_args()
    policy = permitted(monitor_origin(0)).policy
    counted: collections.Counter[str] = collections.Counter()
    where: dict[str, str] = {}
    for path in sorted(one for one in arguments.folder.rglob("*") if one.is_file()):
        for program in programs(path):
            if arguments.unknown:
                lines = [f"{one.kind}: {one.message} {one.observed}" for one in judge(program, policy)]
            else:
                lines = list(uses(program))
            counted.update(lines)
            where.update(dict.fromkeys(lines, path.name))
    for line, count in counted.most_common():
        print(f"{count:7} {line}  [{where[line]}]")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
