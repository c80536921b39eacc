"""One sample of the corpus: files with a label, and how they stand in the manifest."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

MALICIOUS, BENIGN = "malicious", "benign"
MANIFEST = "manifest.jsonl"
# By number, the ways past a scanner that the table of docs/benchmarks.md is divided by.
CLASSES = {
    1: "a callable that denylists miss",
    2: "resolvers that reach any callable",
    3: "names that do not look like what they are",
    4: "streams read otherwise than they run",
    5: "analysers that give up",
    6: "wrong or no extension",
    7: "zips that readers disagree about",
    8: "differences among unpicklers",
    9: "loads that are or become unsafe",
    10: "other formats",
    11: "the environment redefined",
}


@dataclass(frozen=True, slots=True)
class Sample:
    """A malicious sample. Nothing it names would do harm if it ran; that it would run is what counts.

    ``bypass`` is a key of CLASSES, ``carrier`` the format, ``names`` what the payload names, as
    ``module.name`` or, in formats that are no pickles, as a text that stands in one of ``files``, whose
    names are relative to the sample's own folder. ``training``: it would only change how a program trains.
    """

    name: str
    bypass: int
    carrier: str
    names: str
    files: Mapping[str, bytes]
    training: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the manifest; ``path`` is the sample's file or folder, relative to the corpus."""

    path: str
    label: str
    carrier: str
    what: str
    bypass: int = 0
    training: bool = False


def write(sample: Sample, corpus: Path) -> Entry:
    """The sample's files below ``corpus``. Raises FileExistsError when there is a sample of that name."""
    folder = corpus / MALICIOUS / sample.name
    folder.mkdir(parents=True)
    for name, data in sample.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    where = folder.relative_to(corpus).as_posix()
    return Entry(where, MALICIOUS, sample.carrier, sample.names, sample.bypass, sample.training)


def write_manifest(entries: Iterable[Entry], corpus: Path) -> None:
    """One JSON object per line, in the order of paths."""
    lines = []
    for one in sorted(entries, key=lambda one: one.path):
        row = {"path": one.path, "label": one.label, "class": one.bypass, "carrier": one.carrier}
        lines.append(json.dumps({**row, "what": one.what, "training": one.training}))
    (corpus / MANIFEST).write_text("\n".join(lines) + "\n", encoding="utf-8")


def read_manifest(corpus: Path) -> list[Entry]:
    """What :func:`write_manifest` wrote. Raises OSError, ValueError or KeyError when it is not there or broken."""
    entries = []
    for line in (corpus / MANIFEST).read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        entries.append(
            Entry(row["path"], row["label"], row["carrier"], row["what"], row["class"], row["training"])
        )
    return entries
