"""What ``veracity scan`` costs, beside its peers and the floors, each a whole process and all in turn.

    python -m bench.scan.speed [--rounds 5] [--peers FOLDER] [--before SRC] [--what KIND ...] [--keep]

Kinds: ``many``, 1,000 small pickles in a folder; ``large``, a torch zip of 2 GiB; ``opcodes``, a pickle of
three million opcodes; ``cold``, one small pickle. Floors read the same bytes, or hash them with SHA-256, in a
bare Python; ``--before`` names the sources of an earlier version, which takes its turns. The page cache is
warm, and no process starts where a configuration lies. A peer that took longer than ``--patience`` seconds in
one round takes no part in the next.
"""

from __future__ import annotations

import argparse
import os
import pickle
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.laws.rows import ROOT, append, commit, versions

from .peers import QUIET, peers

RESULTS = Path(__file__).resolve().parent / "results"
MANY, LARGE, OPCODES = 1000, 2 << 30, 3_000_000
_READ = """\
import os, sys
for path in ([one.path for one in os.scandir(sys.argv[1])] if os.path.isdir(sys.argv[1]) else [sys.argv[1]]):
    with open(path, "rb", buffering=0) as file:
        while piece := file.read(1 << 20):
            pass
"""
_HASH = """\
import hashlib, os, sys
for path in ([one.path for one in os.scandir(sys.argv[1])] if os.path.isdir(sys.argv[1]) else [sys.argv[1]]):
    hasher = hashlib.sha256()
    with open(path, "rb", buffering=0) as file:
        while piece := file.read(1 << 20):
            hasher.update(piece)
"""


@dataclass(frozen=True, slots=True)
class Taken:
    """Of one process: wall and processor seconds, the largest resident set in MiB, and its exit code."""

    wall: float
    processor: float
    memory: float
    code: int


def main() -> int:
    """Measure, and print a line for each contender."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peers", type=Path)
    parser.add_argument("--before", type=Path, help="`src` of an earlier version")
    parser.add_argument("--what", nargs="+", choices=sorted(MAKERS), default=list(MAKERS))
    parser.add_argument("--without", nargs="+", default=[], help="peers that take no part")
    parser.add_argument("--patience", type=float, default=15.0)
    parser.add_argument("--keep", action="store_true", help="add rows to bench/scan/results")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="veracity-bench-scan-") as place:
        for what in arguments.what:
            target = MAKERS[what](Path(place))
            _measure(what, target, _contenders(target, arguments), arguments)
            shutil.rmtree(target) if target.is_dir() else target.unlink()
    return 0


def _contenders(target: Path, arguments: argparse.Namespace) -> dict[str, tuple[list[str], str]]:
    """By name, a command and its version; the floors first."""
    scan = [sys.executable, "-m", "veracity", "scan", "--quiet", str(target)]
    found = {
        "floor: read": ([sys.executable, "-S", "-c", _READ, str(target)], ""),
        "floor: sha256": ([sys.executable, "-S", "-c", _HASH, str(target)], ""),
        "veracity": (scan, ""),
        "veracity --digest": ([*scan, "--digest"], ""),
    }
    if target.is_dir():
        found["veracity --jobs 1"] = ([*scan, "--jobs", "1"], "")
    if arguments.before:
        before = ["env", f"PYTHONPATH={arguments.before.resolve()}", *scan]
        found["veracity, before"] = (before, "")
        found["veracity, before --digest"] = ([*before, "--digest"], "")
    for peer in peers(arguments.peers) if arguments.peers else ():
        # A folder is nothing that the command of fickling takes.
        if peer.name not in arguments.without and not (peer.name == "fickling" and target.is_dir()):
            found[peer.name] = (peer.command(target), peer.version)
    return found


def _measure(
    what: str, target: Path, contenders: dict[str, tuple[list[str], str]], arguments: argparse.Namespace
) -> None:
    taken: dict[str, list[Taken]] = {name: [] for name in contenders}
    for turn in range(arguments.rounds):
        names = list(contenders)
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            before = taken[name]
            if before and before[-1].wall > arguments.patience and not name.startswith(("veracity", "floor")):
                continue
            before.append(run(contenders[name][0]))
    for name, several in taken.items():
        print(f"{what}: {line(name, several)}", flush=True)
        if arguments.keep:
            row = {"case": f"{what}/{name}", "what": what, "tool": name, "version": contenders[name][1]}
            rounds = [[one.wall, one.processor, one.memory, one.code] for one in several]
            load = list(os.getloadavg())
            append(
                "speed",
                {**row, "commit": commit(), "on": versions(), "load": load, "rounds": rounds},
                RESULTS,
            )


def run(command: Sequence[str]) -> Taken:
    """Run it to its end, with nothing but its exit code kept of what it says."""
    environment = {**os.environ, **QUIET, "PYTHONPATH": str(ROOT / "src")}
    began = time.perf_counter()
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment,
        cwd=tempfile.gettempdir(),
    )
    _, status, used = os.wait4(process.pid, 0)
    wall = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    return Taken(wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, process.returncode)


def line(name: str, several: Sequence[Taken]) -> str:
    """Median and range of the wall time, medians of the rest."""
    walls = [one.wall for one in several]
    spread = f"{statistics.median(walls):.3f} s ({min(walls):.3f}-{max(walls):.3f})"
    processor = statistics.median(one.processor for one in several)
    codes = sorted({one.code for one in several})
    memory = max(one.memory for one in several)
    return f"{name}: {spread}, processor {processor:.3f} s, {memory:.0f} MiB, exit {codes}"


def _many(place: Path) -> Path:
    folder = place / "many"
    folder.mkdir()
    for number in range(MANY):
        value = {"epoch": number, "loss": [0.1] * 20, "names": [f"layer{n}" for n in range(30)], "best": None}
        (folder / f"{number:04}.pkl").write_bytes(pickle.dumps(value, 2 + number % 4))
    return folder


def _large(place: Path) -> Path:
    """A torch zip of 300 float tensors; its bytes are written, so that the file has no holes."""
    from .corpus.assemble import STOP, Call, Name, push, start

    storages, numbers = 300, LARGE // 300 // 4
    hooks = Call(Name("collections", "OrderedDict"))
    weights = push(hooks) + b"("
    for index in range(storages):
        storage = push(("storage", Name("torch", "FloatStorage"), str(index), "cpu", numbers)) + b"Q"
        rest = push(0) + push((numbers,)) + push((1,)) + push(False) + push(hooks)
        weights += (
            push(f"layer.{index}")
            + push(Name("torch._utils", "_rebuild_tensor_v2"))
            + b"("
            + storage
            + rest
            + b"tR"
        )
    path = place / "large.pt"
    block = bytes(range(256)) * 4096
    piece = (block * (4 * numbers // len(block) + 1))[: 4 * numbers]
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", start(2) + weights + b"u" + STOP)
        for index in range(storages):
            archive.writestr(f"archive/data/{index}", piece)
        archive.writestr("archive/version", "3\n")
    return path


def _opcodes(place: Path) -> Path:
    path = place / "opcodes.pkl"
    path.write_bytes(pickle.dumps([1] * OPCODES, 2))
    return path


def _cold(place: Path) -> Path:
    path = place / "one.pkl"
    path.write_bytes(pickle.dumps({"epoch": 3}))
    return path


MAKERS: dict[str, Callable[[Path], Path]] = {
    "many": _many,
    "large": _large,
    "opcodes": _opcodes,
    "cold": _cold,
}

if __name__ == "__main__":
    sys.exit(main())
