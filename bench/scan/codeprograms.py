"""Whole small programs with a sabotage in them, and lawful ones that look alike, through the rules.

    python -m bench.scan.codeprograms           told programs by class of sabotage, and those that are missed

``programs/first`` was written without a look at the rules; ``second`` and ``third`` by who had mended
them. Each was scored before anything was mended by it: those rates stand in ``docs/benchmarks.md``, and what
is printed here is what is told now. ``programs/lawful`` is never told about. The texts are never run.
"""

from __future__ import annotations

import posixpath
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from veracity.core.persona import Persona
from veracity.scan.code import examine_source, judge_source

FOLDER = Path(__file__).parent / "programs"
SABOTAGES = ("first", "second", "third")
LAWFUL = "lawful"


@dataclass(frozen=True, slots=True)
class Program:
    """A program: ``name`` is its class and its own; ``files`` by path."""

    name: str
    files: dict[str, str]

    def told(self, persona: Persona = Persona.REGULAR) -> list[str]:
        """Rules that tell something of it: ``<path>:<line> <rule>``."""
        found = []
        for path, text in self.files.items():
            beside = Beside(self, posixpath.dirname(path))
            for finding in judge_source(examine_source(path, text.encode(), beside=beside), persona):
                line = finding.locations[0].line if finding.locations else 0
                found.append(f"{path}:{line} {finding.rule}")
        return found


@dataclass(frozen=True, slots=True)
class Beside:
    """The folder of one of a program's files."""

    program: Program
    folder: str

    @property
    def place(self) -> str:
        """Where it is."""
        return f"{self.program.name}:{self.folder}"

    def read(self, path: str, limit: int) -> bytes | None:
        """Another of its files."""
        text = self.program.files.get(posixpath.normpath(posixpath.join(self.folder, path)))
        return text.encode() if text is not None and len(text.encode()) <= limit else None


def programs(corpus: str) -> Iterator[Program]:
    """The programs of a corpus: ``=== CLASS/NAME`` begins one, ``--- PATH`` a file of it."""
    name, path = "", ""
    files: dict[str, str] = {}
    for line in (FOLDER / f"{corpus}.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("=== "):
            if name:
                yield Program(name, files)
            name, files, path = line[4:].strip(), {}, ""
        elif line.startswith("--- "):
            path = line[4:].strip()
            files[path] = ""
        elif path:
            files[path] += line + "\n"
    if name:
        yield Program(name, files)


def main() -> int:
    """Print what is told; the exit code is 1 when something is told of a lawful program."""
    for corpus in SABOTAGES:
        told: Counter[str] = Counter()
        count: Counter[str] = Counter()
        missed = []
        for one in programs(corpus):
            kind = one.name.partition("/")[0]
            count[kind] += 1
            if one.told():
                told[kind] += 1
            else:
                missed.append(one.name + (" (auditor)" if one.told(Persona.AUDITOR) else ""))
        parts = ", ".join(f"{kind} {told[kind]} of {count[kind]}" for kind in count)
        print(f"{corpus}: {sum(told.values())} of {sum(count.values())} told: {parts}")
        print(f"  missed: {', '.join(missed) or 'none'}")
    cried = [f"{one.name} ({', '.join(one.told())})" for one in programs(LAWFUL) if one.told()]
    print(f"{LAWFUL}: {sum(1 for _ in programs(LAWFUL))} programs, told of {len(cried)}: {', '.join(cried)}")
    return int(bool(cried))


if __name__ == "__main__":
    sys.exit(main())
