"""Plant on a real environment with torch and on a real record, and see what is told of it.

    python -m bench.plantings.run [--what files startup records clean honest] [--only TEXT] [--folder DIR]

From the project's root, with the package on the path. Makes an environment of ``torch`` with its wheels and
their lock, seals it, and plants in it what docs/benchmarks.md lists: each must be told by the command and
under the word that belong to it, of the file that it is in, and nothing else may be told. The record is that
of a run in this environment, which two witnesses have cosigned. ``honest`` makes environments as people do.
Everything is planted below a temporary folder, marked as planted, and inert. Prints a Markdown table; exit
code 1 when something was missed, or told of what is honest.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from .files import FILES
from .lookalikes import try_honest, try_system, try_untouched
from .place import make
from .planting import Planting, Row, try_all
from .records import recorded, try_records
from .startup import STARTUP

WHAT = ("files", "startup", "records", "clean", "honest")


def main() -> int:
    """Make the place, try everything, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--what", nargs="+", choices=WHAT, default=list(WHAT))
    parser.add_argument("--only", default="", help="plantings whose name or variant has this in it")
    parser.add_argument("--folder", type=Path, help="where everything is made (default: a temporary folder)")
    parser.add_argument("--base", default=getattr(sys, "_base_executable", sys.executable), metavar="PYTHON")
    arguments = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="veracity-plantings-", dir=arguments.folder))
    rows: list[Row] = []
    try:
        for row in tried(arguments, root):
            rows.append(row)
            tell(row)
    finally:
        shutil.rmtree(root, ignore_errors=True)
    print(table(rows))
    return 1 if any(row.missed or row.unasked for row in rows) else 0


def tried(arguments: argparse.Namespace, root: Path) -> Iterator[Row]:
    """A row for each thing that was tried."""
    began = time.monotonic()
    place = make(root, arguments.base)
    print(f"made and sealed after {time.monotonic() - began:.0f} s", file=sys.stderr)
    if "files" in arguments.what:
        yield from try_all(place, chosen(FILES, arguments.only))
    if "startup" in arguments.what:
        yield from try_all(place, chosen(STARTUP, arguments.only))
    if "records" in arguments.what:
        (root / "record").mkdir()
        with recorded(root / "record", (place.python, place.code / "train.py")) as record:
            yield from try_records(record)
    if "clean" in arguments.what:
        yield from try_untouched(place)
    if "honest" in arguments.what:
        yield from try_honest(root, root / "home", arguments.base)
        yield from try_system(root / "home", place.root)


def chosen(plantings: list[Planting], only: str) -> list[Planting]:
    """Those with ``only`` in their names."""
    return [one for one in plantings if only in f"{one.what}: {one.variant}"]


def tell(row: Row) -> None:
    """One line as it goes."""
    word = "MISSED" if row.missed else "UNASKED" if row.unasked else "waits" if row.awaits else "ok"
    more = "; ".join((*row.missed, *row.unasked, row.awaits))
    print(f"{word:8} {row.what}: {row.variant} {more}".rstrip(), file=sys.stderr, flush=True)


def table(rows: list[Row]) -> str:
    """The rows by what was planted: how many variants, and how many were told as they must be."""
    lines = ["| Planted | Told by | Variants | Told as they must be |", "| --- | --- | --- | --- |"]
    for what in dict.fromkeys(row.what for row in rows):
        mine = [row for row in rows if row.what == what]
        done = [row for row in mine if not row.awaits]
        by = ", ".join(sorted({name for row in done for name in row.by.split(" + ")}))
        good = sum(not row.missed and not row.unasked for row in done)
        names = "; ".join(row.variant for row in done) or mine[0].awaits
        lines.append(f"| {what} | {by or '–'} | {names} | {good} of {len(done)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
