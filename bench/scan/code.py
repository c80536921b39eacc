"""The rules about code on sabotage and on released sources: what is found, and what is told of clean code.

    python -m bench.scan.code                          the drills' sabotages and the variants
    python -m bench.scan.code --tree PATH …            findings per 10,000 lines of released sources
    python -m bench.scan.code --results FILE           rows as JSON lines besides

The drills' sabotages are those of ``bench/laws``, planted in copies of victims and of torch's files. They are
scanned, never run. The exit code is 1 when a sabotage of the drills is missed.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.laws.plant import script_edits, torch_texts
from bench.laws.planting import Trigger
from bench.laws.sabotages import SABOTAGES
from bench.laws.targets import TARGETS
from bench.scan.codehost import planted
from bench.scan.codevariants import variants
from veracity.core.observation import Gap
from veracity.core.persona import Persona
from veracity.drill.interpreter import find_torch
from veracity.observe.artifact.beside import Folder
from veracity.observe.git.changes import added_lines
from veracity.scan.code import examine_source, judge_source


@dataclass(frozen=True, slots=True)
class Row:
    """One planted change, scanned in one way: as a whole file or as a change."""

    corpus: str
    name: str
    mode: str
    regular: int
    auditor: int


@dataclass(frozen=True, slots=True)
class Planted:
    """A file with something planted, and what it was before; ``before`` None where it is new."""

    path: str
    text: str
    before: str | None


def drills() -> Iterator[tuple[str, list[Planted]]]:
    """Each sabotage of the laws' bench in each of its targets."""
    torch = find_torch(sys.executable)
    if torch is None:
        raise SystemExit(f"{sys.executable} has no torch")
    for one in SABOTAGES:
        for name in one.targets:
            target, strength = TARGETS[name], one.strengths[-1]
            trigger, truth = Trigger(kind=one.triggers[0], start=one.start), Path("acted.txt")
            original = target.script.read_text(encoding="utf-8")
            text = original
            for edit in script_edits(one, target, trigger, strength, truth):
                text = edit.apply(text)
            files = [Planted(target.script.name, text, original)] if text != original else []
            for file, edited in torch_texts(one, target, trigger, strength, truth).items():
                before = (torch / file).read_text(encoding="utf-8")
                files.append(Planted(f"torch/{file}", edited, before))
            if one.between:
                files.append(Planted("edit.py", one.between, None))
            files += [Planted(file, content, None) for file, content in one.site.items()]
            yield f"{one.name}/{name}", files


def others() -> Iterator[tuple[str, list[Planted]]]:
    """The variants in other spellings."""
    clean = planted({})
    for one in variants():
        yield one.name, [Planted("train.py", one.text, clean)]


def judge(corpus: str, name: str, files: list[Planted]) -> Iterator[Row]:
    """Scan in both ways."""
    for mode in ("tree", "diff"):
        counts = [0, 0]
        for one in files:
            data = one.text.encode()
            before = one.before.encode() if one.before is not None else None
            added = added_lines(before, data) if mode == "diff" else None
            read = list(examine_source(one.path, data, added, before=before if mode == "diff" else None))
            for place, persona in enumerate((Persona.REGULAR, Persona.AUDITOR)):
                counts[place] += len(judge_source(read, persona))
        yield Row(corpus, name, mode, counts[0], counts[1])


def tree(path: Path) -> None:
    """Print what is told of a tree that is known to be clean."""
    lines = regular = auditor = gaps = 0
    begun = time.process_time()
    for file in sorted(path.rglob("*.py")):
        data = file.read_bytes()
        lines += data.count(b"\n")
        read = list(examine_source(str(file), data, beside=Folder(str(file.parent))))
        gaps += sum(isinstance(one, Gap) for one in read)
        for finding in judge_source(read, Persona.AUDITOR):
            auditor += 1
            if Persona.REGULAR.sees(finding):
                regular += 1
                print(f"  {finding.locations[0].path}:{finding.locations[0].line} {finding.rule}")
    spent = time.process_time() - begun
    print(
        f"{path.name}: {lines:,} lines, regular {regular} ({1e4 * regular / max(1, lines):.2f} per 10,000), "
        f"auditor {auditor}, unread {gaps}, {lines / max(spent, 1e-9):,.0f} lines/s"
    )


def main() -> int:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tree", type=Path, nargs="+", default=[])
    parser.add_argument("--results", type=Path)
    arguments = parser.parse_args()
    for path in arguments.tree:
        tree(path)
    if arguments.tree:
        return 0
    rows = [row for name, files in drills() for row in judge("drill", name, files)]
    rows += [row for name, files in others() for row in judge("variant", name, files)]
    for corpus in ("drill", "variant"):
        for mode in ("tree", "diff"):
            some = [row for row in rows if row.corpus == corpus and row.mode == mode]
            missed = [row.name for row in some if not row.regular]
            told = sum(bool(row.auditor) for row in some)
            print(f"{corpus}, {mode}: {len(some) - len(missed)} of {len(some)} told, {told} to auditors")
            print(f"  missed: {', '.join(missed) or 'none'}")
    if arguments.results:
        arguments.results.write_text(
            "".join(json.dumps(asdict(row)) + "\n" for row in rows), encoding="utf-8"
        )
    return int(any(row.corpus == "drill" and not row.regular for row in rows))


if __name__ == "__main__":
    sys.exit(main())
