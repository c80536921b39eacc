"""Score ``veracity scan`` and its peers on the labelled corpus.

    python -m bench.scan.score CORPUS [--peers FOLDER] [--tools NAME ...] [--list FILE] [--keep]

CORPUS is what bench.scan.corpus.build wrote, FOLDER what bench.scan.peers made. Each scanner runs as a
process of its own over each half. ``--list`` writes every malicious sample that is not flagged and every
benign file that is not clean, as the scan told it; ``--keep`` adds the counts to the rows of
bench/scan/results.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.laws.rows import ROOT, append, commit, versions

from .corpus.sample import BENIGN, MALICIOUS, Entry, read_manifest
from .peers import CLEAN, FLAGGED, INCOMPLETE, peers

RESULTS = Path(__file__).resolve().parent / "results"
OURS = "veracity"
WORST = (CLEAN, INCOMPLETE, FLAGGED)


@dataclass(frozen=True, slots=True)
class Told:
    """What a scanner said of an entry: a word, and for ours why."""

    entry: Entry
    word: str
    why: tuple[str, ...] = ()


def main() -> int:
    """Score, and print a line for each scanner."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--peers", type=Path, help="environments of the peers")
    parser.add_argument("--tools", nargs="+", help="only these")
    parser.add_argument("--list", type=Path, dest="listed", help="where to write what ours got wrong")
    parser.add_argument("--keep", action="store_true", help="add rows to bench/scan/results")
    arguments = parser.parse_args()
    corpus = arguments.corpus.resolve()
    entries = read_manifest(corpus)
    wanted = arguments.tools
    if not wanted or OURS in wanted:
        told = list(ours(corpus, entries))
        _tell(OURS, "", told, keep=arguments.keep)
        if arguments.listed:
            arguments.listed.write_text("\n".join(wrong(told)) + "\n", encoding="utf-8")
    for peer in peers(arguments.peers) if arguments.peers else ():
        if wanted and peer.name not in wanted:
            continue
        words: dict[str, str] = {}
        for half in (MALICIOUS, BENIGN):
            files = sorted(path for path in (corpus / half).rglob("*") if path.is_file())
            if files:
                words.update(peer.judge(corpus / half, files))
        told = [Told(one, _worst(corpus, one, words)) for one in entries]
        _tell(peer.name, peer.version, told, keep=arguments.keep)
    return 0


def ours(corpus: Path, entries: Sequence[Entry]) -> Iterator[Told]:
    """What the command says of each entry."""
    files: dict[str, Mapping[str, object]] = {}
    for half in (MALICIOUS, BENIGN):
        if (corpus / half).exists():
            for one in _scanned(corpus / half):
                files[str(one["path"])] = one
    words = {path: _word(str(one["status"])) for path, one in files.items()}
    for entry in entries:
        place = str(corpus / entry.path)
        why = [line for path, one in files.items() if _below(path, place) for line in _reasons(one)]
        yield Told(entry, _worst(corpus, entry, words), tuple(why))


def _scanned(folder: Path) -> list[Mapping[str, object]]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    with tempfile.TemporaryDirectory() as scratch:
        answer = Path(scratch) / "answer.json"
        command = [
            sys.executable,
            "-m",
            "veracity",
            "scan",
            str(folder),
            "--format",
            "json",
            "--output",
            str(answer),
        ]
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, cwd=scratch
        )
        if not answer.exists():
            raise SystemExit(f"the scan told nothing: {done.stderr[-2000:]}")
        files: list[Mapping[str, object]] = json.loads(answer.read_text(encoding="utf-8"))["files"]
        return files


def _word(status: str) -> str:
    return FLAGGED if status == "findings" else status


def _below(path: str, place: str) -> bool:
    return path == place or path.startswith(f"{place}/")


def _worst(corpus: Path, entry: Entry, words: Mapping[str, str]) -> str:
    """The worst word of the entry's files: of one that a scanner says nothing of, that it is clean."""
    place = str(corpus / entry.path)
    found = [word for path, word in words.items() if _below(path, place)]
    return max(found, key=WORST.index, default=CLEAN)


def _reasons(one: Mapping[str, object]) -> Iterator[str]:
    findings, missed = one.get("findings"), one.get("not_read")
    for finding in findings if isinstance(findings, list) else ():
        said = finding.get("message") or finding.get("what") or ""
        yield f"{finding.get('rule')} ({finding.get('severity')}): {said}"[:400]
    for gap in missed if isinstance(missed, list) else ():
        yield f"not read: {gap.get('what')}: {gap.get('reason')}"[:400]


def wrong(told: Iterable[Told]) -> Iterator[str]:
    """Lines about malicious entries that were not flagged, and benign ones that were not clean."""
    for word, label in ((CLEAN, MALICIOUS), (INCOMPLETE, MALICIOUS), (FLAGGED, BENIGN), (INCOMPLETE, BENIGN)):
        found = [one for one in told if one.entry.label == label and one.word == word]
        yield f"== {label} and {word}: {len(found)}"
        for one in found:
            about = f" class {one.entry.bypass}" if one.entry.bypass else ""
            yield f"{one.entry.path} [{one.entry.carrier}{about}: {one.entry.what}]"
            yield from (f"    {line}" for line in one.why[:6])


def counts(told: Iterable[Told]) -> Iterator[dict[str, object]]:
    """A row for each kind of entry: how many of each word, and for malicious ones the names of the clean."""
    kinds: dict[tuple[str, str, int, bool], list[Told]] = defaultdict(list)
    for one in told:
        entry = one.entry
        kinds[entry.label, entry.carrier, entry.bypass, entry.training].append(one)
    for (label, carrier, bypass, training), group in sorted(kinds.items()):
        words = Counter(one.word for one in group)
        row: dict[str, object] = {"label": label, "carrier": carrier, "class": bypass, "training": training}
        row |= {"files": len(group), **{word: words[word] for word in WORST}}
        yield row | {"wrong": sorted(one.entry.path.partition("/")[2] for one in group if _is_wrong(one))}


def _is_wrong(one: Told) -> bool:
    return one.word != (CLEAN if one.entry.label == BENIGN else FLAGGED)


def _tell(name: str, version: str, told: Sequence[Told], *, keep: bool) -> None:
    measured = commit()
    for row in counts(told):
        if keep:
            shown = row if name == OURS else {key: value for key, value in row.items() if key != "wrong"}
            about = {"tool": name, "version": version, "commit": measured, "on": versions()}
            append("score", {"case": _case(name, row), **about, **shown}, RESULTS)
    for label in (MALICIOUS, BENIGN):
        words = Counter(one.word for one in told if one.entry.label == label)
        print(
            f"{name} {version}: {label}: " + ", ".join(f"{words[word]} {word}" for word in reversed(WORST)),
            flush=True,
        )


def _case(name: str, row: Mapping[str, object]) -> str:
    return "/".join(str(part) for part in (name, row["label"], row["carrier"], row["class"], row["training"]))


if __name__ == "__main__":
    sys.exit(main())
