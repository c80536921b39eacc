"""Tables of what bench.scan measured, written into ``docs/benchmarks.md`` between its markers.

python -m bench.scan.report [--commit HASH] [--print]
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Iterable, Sequence

from bench.laws.intervals import wilson
from bench.laws.rows import Row, latest, rows
from bench.tables import Block, table, write

from .corpus.sample import BENIGN, CLASSES, MALICIOUS
from .peers import CLEAN, FLAGGED, INCOMPLETE
from .score import OURS, RESULTS

BLOCK = Block("scan", "bench/scan/report.py")
PICKLES = (
    "pickle", "torch-zip", "torch-legacy", "torch-shards", "torchscript", "compressed", "archive", "numpy",
    "joblib",
)  # fmt: skip
MAX_NAMED = 40
_MEANT = """\
Flagged: at least one finding (of a peer: an issue of its own default severity). A malicious file that
is *incomplete* (exit 2) is not flagged, and did not end 0. A benign file that is incomplete counts as
half a false alarm. Intervals are Wilson's, 95 %; files of one generator resemble each other, so they
say how sure the share *of this corpus* is, no more. Faults of ours that this corpus showed were mended
before these figures were taken: of files that nobody has shown us they say less."""

_HOW = """\
`python -m bench.scan.corpus.build CORPUS --wheels WHEELS` in an environment with torch, transformers,
accelerate, lightning, peft, scikit-learn, joblib, lz4, lightgbm, pandas, scipy, safetensors, gguf,
onnx, keras, h5py and nbformat (WHEELS: some wheels of an index); `python -m bench.scan.peers PEERS`;
`python -m bench.scan.score CORPUS --peers PEERS --keep`; `python -m bench.scan.speed --peers PEERS
--keep`; `python -m bench.scan.report`. No payload of the malicious half would do anything: what a file
names is what counts, and how. Of class 11 there is what redefines a name when Python starts or when a
pickle is loaded; a pickle whose only fault is that a name means something else where it is loaded is
the same bytes as a clean one, and not in here. After the first run, samples that no reader would run
were taken out, and payloads that looked as harmless as they are were made to look like what they stand
for."""

_VARIANTS = """\
371 of the malicious samples (those called `more-` and `h5-more-`) and 117 of the benign ones (the
groups called `like-`) were written after the rest and apart from the gate's code, from the formats and
from what their loaders do; four of them, about shards, when that was being mended. When they first met
the gate, 294 of the 371 were flagged (79.2 %), 8 were incomplete and 69 ended 0; 1 of the 117 was
flagged. What was missed was mended in general: other files that HDF5 opens, names in configurations
(`target`, factories of `logging`), magics, kernels and variables of notebooks, pickles that another
host sends, functions that threads are given, modules and start-up files in the place of others,
bytecode beside its source, slices of sharded checkpoints, links and headers of archives. Five that no
loader opens or runs had been taken out before, two more were then, and four that their reader would not
have come to were put right. The share after mending stands in the tables; the first one is what to
expect of files that nobody has shown us."""

_WRONG = {
    "benign: wheels/joblib": "has pickles of its own old classes, for tests: what no policy permits is told",
    "benign: wheels/networkx": "has pickles of its own graphs, for tests: what no policy permits is told",
    "malicious: more-zip-deflate64": "incomplete: Deflate64 is not unpacked, and that is said",
}
"""Why, of what is known to be wrong: the beginning of its line."""

_COSTS = """\
Whole processes in turn, wall seconds as median (min–max), processor seconds as median, the page cache
warm. MiB: the largest resident set, and not below that of the bench, which starts the process. Load: of
the machine at the end; where it is above the number of processors, wall times tell of other work, and
processor times and their ratios count: of rows of one commit, which took turns; others met another
load, and compare with their own floors. *Before* is the version before readers and rules were imported
when a file needs them. A peer with one round took longer than the bench waits for in the next."""


def main() -> int:
    """Write the tables, or print them."""
    return write(BLOCK, report, usage=__doc__, of_commits="rows of these commits")


def report(measured: Sequence[str]) -> str:
    """All tables for these commits, as Markdown; of a case the last row counts."""
    scored = scores(rows("score", RESULTS), measured)
    timed = latest(rows("speed", RESULTS), measured)
    parts = [f"## Files that can execute (`bench/scan`, commit {', '.join(measured)})", "", _MEANT, "", _HOW]
    parts += [
        "",
        _VARIANTS,
        "",
        *_overall(scored),
        "",
        *_by_class(scored),
        "",
        *_by_carrier(scored),
        *_wrong(scored),
    ]
    return "\n".join([*parts, *_speed(timed)])


def scores(found: Iterable[Row], measured: Sequence[str]) -> list[Row]:
    """The last row of each case: of ours one of these commits, of a peer, which no commit changes, any."""
    kept: dict[str, Row] = {}
    for row in found:
        if row["tool"] != OURS or row.get("commit") in measured:
            kept[str(row["case"])] = row
    return list(kept.values())


# --- scores --------------------------------------------------------------------------------------


def _tools(scored: Iterable[Row]) -> dict[str, str]:
    """By name, the title of a column; ours first."""
    ordered = sorted(scored, key=lambda row: (row["tool"] != OURS, str(row["tool"])))
    return {str(row["tool"]): f"{row['tool']} {row.get('version') or ''}".strip() for row in ordered}


def _number(row: Row, name: str) -> int:
    value = row.get(name)
    return value if isinstance(value, int) else 0


def _sum(group: Iterable[Row], name: str) -> int:
    return sum(_number(row, name) for row in group)


def _share(events: int, trials: int) -> str:
    if not trials:
        return "–"
    low, high = wilson(events, trials)
    return f"{100 * events / trials:.1f} % ({100 * low:.1f}–{100 * high:.1f})"


def _overall(scored: Sequence[Row]) -> list[str]:
    tools = _tools(scored)
    malicious = [row for row in scored if row["label"] == MALICIOUS]
    benign = [row for row in scored if row["label"] == BENIGN]
    kinds: tuple[tuple[str, Callable[[Row], bool]], ...] = (
        ("pickle family", lambda row: row["carrier"] in PICKLES and not row["training"]),
        ("calls that only change training", lambda row: bool(row["training"])),
        ("other formats, packages, start-up files", lambda row: row["carrier"] not in PICKLES),
    )
    body = []
    for title, wanted in (*kinds, ("all malicious", lambda row: True)):
        groups = {tool: [row for row in malicious if row["tool"] == tool and wanted(row)] for tool in tools}
        files = max((_sum(group, "files") for group in groups.values()), default=0)
        cells = [_share(_sum(group, FLAGGED), _sum(group, "files")) for group in groups.values()]
        body.append((f"{title} ({files}) flagged", *cells))
    for title, among, word in (
        ("malicious that ended 0", malicious, CLEAN),
        ("benign flagged", benign, FLAGGED),
        ("benign incomplete", benign, INCOMPLETE),
    ):
        body.append((title, *(_of(among, tool, word) for tool in tools)))
    alarms = []
    for tool in tools:
        group = [row for row in benign if row["tool"] == tool]
        files, false = _sum(group, "files"), _sum(group, FLAGGED) + _sum(group, INCOMPLETE) / 2
        alarms.append(f"{100 * false / files:.2f} %" if files else "–")
    body.append(("false alarms, incomplete as half", *alarms))
    return table(("", *tools.values()), body)


def _of(among: Iterable[Row], tool: str, word: str) -> str:
    group = [row for row in among if row["tool"] == tool]
    return f"{_sum(group, word)} of {_sum(group, 'files')}"


def _by_class(scored: Sequence[Row]) -> list[str]:
    tools = _tools(scored)
    malicious = [row for row in scored if row["label"] == MALICIOUS]
    body = []
    for number, title in CLASSES.items():
        groups = [
            [row for row in malicious if row["class"] == number and row["tool"] == tool] for tool in tools
        ]
        body.append(
            (f"{number}: {title}", *(f"{_sum(group, FLAGGED)} of {_sum(group, 'files')}" for group in groups))
        )
    return table(("malicious, by class", *tools.values()), body)


def _by_carrier(scored: Sequence[Row]) -> list[str]:
    tools = _tools(scored)
    body = []
    for label in (MALICIOUS, BENIGN):
        for carrier in sorted({str(row["carrier"]) for row in scored if row["label"] == label}):
            among = [row for row in scored if row["label"] == label and row["carrier"] == carrier]
            body.append((f"{label}: {carrier}", *(_of(among, tool, FLAGGED) for tool in tools)))
    return table(("flagged, by carrier or library", *tools.values()), body)


def _wrong(scored: Sequence[Row]) -> list[str]:
    lines = ["", "### What ours got wrong", ""]
    found = []
    for row in scored:
        wrong = row.get("wrong")
        if row["tool"] == OURS and isinstance(wrong, list):
            found += [f"{row['label']}: {name}" for name in wrong]
    shown = [f"- {name}{_why(name)}" for name in sorted(found)[:MAX_NAMED]]
    if len(found) > MAX_NAMED:
        shown.append(f"- and {len(found) - MAX_NAMED} more, in bench/scan/results/score.jsonl")
    return [*lines, *(shown or ["Nothing."])]


def _why(name: str) -> str:
    return next((f" ({why})" for start, why in _WRONG.items() if name.startswith(start)), "")


# --- speed ---------------------------------------------------------------------------------------


def _speed(timed: Sequence[Row]) -> list[str]:
    if not timed:
        return []
    lines = [
        "",
        "### What it costs",
        "",
        _COSTS,
        "",
    ]
    body = []
    for row in timed:
        rounds = row.get("rounds")
        if not isinstance(rounds, list) or not rounds:
            continue
        walls, processor = [one[0] for one in rounds], statistics.median(one[1] for one in rounds)
        spread = f"{statistics.median(walls):.3f} ({min(walls):.3f}–{max(walls):.3f})"
        name = f"{row['tool']} {row.get('version') or ''}".strip()
        memory = f"{max(one[2] for one in rounds):.0f}"
        load = row.get("load")
        busy = f"{load[0]:.1f}" if isinstance(load, list) else "–"
        numbers = (spread, f"{processor:.3f}", memory, str(len(rounds)), busy)
        body.append((str(row["what"]), name, *numbers, str(row.get("commit") or "–")))
    return [*lines, *table(("", "", "seconds", "processor", "MiB", "rounds", "load", "commit"), body)]


if __name__ == "__main__":
    sys.exit(main())
