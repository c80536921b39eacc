"""What the gate costs on a large torch zip, beside the floors: reading what must be read, and hashing it all.

    python bench/scan/zip.py [--rounds 5] [--size 2147483648] [--storages 300] [--folder DIR]

The file is written by ``torch.save``: ``--storages`` tensors that make ``--size`` bytes together. Each round
starts, in turn: the *floor*, a process that reads ``data.pkl`` and the directory with ``zipfile`` and does
nothing; the *gate*, a process that puts the file through all readers and rules; *hash*, one that computes
SHA-256 of the file, 1 MiB at a time; and *both*, the gate and then that digest. Seconds of
the whole process and its largest resident set, as median (min-max) over rounds; the page cache is warm.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

PIECE = 1 << 20


def main() -> int:
    """Write the file, run the rounds, print a Markdown table; or be one of the processes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size", type=int, default=2 << 30)
    parser.add_argument("--storages", type=int, default=300)
    parser.add_argument("--folder", type=Path, help="where the file is made (default: a temporary folder)")
    parser.add_argument("--be", choices=sorted(WORK), help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.be:
        WORK[arguments.be](arguments.file)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10)
        return 0
    made = Path(tempfile.mkdtemp(prefix="veracity-bench-zip-", dir=arguments.folder))
    try:
        path = made / "large.pt"
        _write(path, arguments.size, arguments.storages)
        load = " ".join(f"{one:.1f}" for one in os.getloadavg())
        print(f"{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}, load {load}")
        _measure(path, arguments.rounds)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return 0


def _write(path: Path, size: int, storages: int) -> None:
    program = (
        "import sys, torch\n"
        "size, storages = int(sys.argv[2]), int(sys.argv[3])\n"
        "one = torch.arange(size // storages // 4, dtype=torch.float32)\n"
        "torch.save({f'layer.{n}.weight': one + n for n in range(storages)}, sys.argv[1])\n"
    )
    subprocess.run([sys.executable, "-c", program, str(path), str(size), str(storages)], check=True)


def _measure(path: Path, rounds: int) -> None:
    seconds: dict[str, list[float]] = {kind: [] for kind in WORK}
    memory: dict[str, list[int]] = {kind: [] for kind in WORK}
    _hash(path)  # warms the page cache
    for _ in range(rounds):
        for kind in WORK:
            command = [sys.executable, __file__, "--be", kind, "--file", str(path)]
            started = perf_counter()
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            seconds[kind].append(perf_counter() - started)
            memory[kind].append(int(done.stdout))
    print(f"\n{path.stat().st_size:,} bytes\n\n| process | seconds | MB |\n|---|---|---|")
    for kind in WORK:
        taken = seconds[kind]
        spread = f"{statistics.median(taken):.3f} ({min(taken):.3f}-{max(taken):.3f})"
        print(f"| {kind} | {spread} | {max(memory[kind])} |")
    ratio = statistics.median(
        one / other for one, other in zip(seconds["hash"], seconds["both"], strict=True)
    )
    print(f"\nspeed with the digest: {ratio:.3f} of bare hashing")


def _floor(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        archive.read(next(one for one in archive.namelist() if one.endswith("/data.pkl")))


def _gate(path: Path) -> None:
    from veracity.observe.artifact.input import Input, open_file
    from veracity.scan.gate.examine import examine
    from veracity.scan.gate.readers import READERS

    source = open_file(path)
    result = examine(Input.of(str(path), source), READERS)
    source.close()
    if result.status != "clean":
        raise SystemExit(f"the file is {result.status}: {result.findings[:1]} {result.gaps[:1]}")


def _hash(path: Path) -> None:
    hasher = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while piece := file.read(PIECE):
            hasher.update(piece)


def _both(path: Path) -> None:
    _gate(path)
    _hash(path)


WORK: dict[str, Callable[[Path], None]] = {"floor": _floor, "gate": _gate, "hash": _hash, "both": _both}

if __name__ == "__main__":
    sys.exit(main())
