"""Write the labelled corpus.

    python -m bench.scan.corpus.build FOLDER [--only malicious|benign] [--wheels FOLDER]

From the project's root, in an environment with the libraries whose files are wanted (those of docs/benchmarks.md);
what is not installed is left out, and said. The malicious half needs the standard library, and h5py for Keras in
HDF5; it is the same bytes every time. Nothing here loads what it writes, and no payload does anything.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from .benign.groups import groups
from .containers import containers
from .documents import documents
from .models import models
from .packages import packages
from .pickles import pickles
from .sample import BENIGN, MALICIOUS, Entry, Sample, write, write_manifest
from .streams import streams
from .variants.samples import variants
from .zipcases import zip_cases

SOURCES: tuple[Callable[[], Iterator[Sample]], ...] = (
    pickles, streams, containers, zip_cases, models, documents, packages, variants,
)  # fmt: skip


def main() -> int:
    """Write what was asked for; 1 when the folder is there already."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", choices=(MALICIOUS, BENIGN))
    parser.add_argument("--groups", nargs="+", help="of the benign half only these")
    parser.add_argument("--wheels", type=Path, help="wheels of an index, to be taken among the benign files")
    arguments = parser.parse_args()
    if arguments.folder.exists():
        print(f"{arguments.folder} is there already", file=sys.stderr)
        return 1
    arguments.folder.mkdir(parents=True)
    entries: list[Entry] = []
    if arguments.only != BENIGN:
        entries += [write(one, arguments.folder) for one in malicious()]
    if arguments.only != MALICIOUS:
        entries += benign(arguments.folder, arguments.wheels, arguments.groups)
    write_manifest(entries, arguments.folder)
    for label in (MALICIOUS, BENIGN):
        print(f"{sum(one.label == label for one in entries)} {label}")
    return 0


def malicious() -> Iterator[Sample]:
    """All malicious samples."""
    for source in SOURCES:
        yield from source()


def benign(corpus: Path, wheels: Path | None, wanted: Sequence[str] | None = None) -> list[Entry]:
    """Files that libraries make, each an entry of its own; a group whose library is missing is told and left out."""
    entries = []
    for group in groups(wheels):
        if wanted and group.name not in wanted:
            continue
        folder = corpus / BENIGN / group.name
        folder.mkdir(parents=True)
        with tempfile.TemporaryDirectory() as scratch:
            try:
                group.make(folder, Path(scratch))
            except ImportError as error:
                print(f"left out {group.name}: {error}", file=sys.stderr)
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                where = path.relative_to(corpus).as_posix()
                entries.append(Entry(where, BENIGN, group.name, group.library))
    return entries


if __name__ == "__main__":
    sys.exit(main())
