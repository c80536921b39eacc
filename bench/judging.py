"""How many recorded steps one core of a monitor judges in a second.

    python bench/judging.py [--steps 160] [--ranks 8] [--rounds 5] [--size small]

Trains the character GPT once with every step looked at (``--overhead 50%``), then takes its ledger and blobs
and gives all records to all detectors, as ``attach`` does, for so many ranks that each go the same way.
Measured apart are decoding (a frame becomes an observation), judging (all detectors) and recording (an entry
of the log for each, committed in batches). A step brings several records (its own, what loaders drew, what
schedulers did); counted are steps. Nothing but processor time of this process counts; rounds take turns with
a floor, the SHA-256 of the same frames.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from veracity.core.digest import Digest
from veracity.core.observation import Observation, StepRecord
from veracity.detect.registry import DETECTORS
from veracity.ledger.blobs import Blobs
from veracity.ledger.entry import Entry
from veracity.ledger.keys import SigningKey
from veracity.ledger.reader import Reader
from veracity.ledger.store import Ledger
from veracity.monitor.judge import Judge
from veracity.monitor.replayed import MAX_PAYLOAD, replayed

T = TypeVar("T")
BATCH = 64


def main() -> int:
    """Run the rounds and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--steps", type=int, default=160)
    parser.add_argument("--ranks", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size", choices=("small", "medium"), default="small")
    arguments = parser.parse_args()
    rows: dict[str, list[float]] = {"floor": [], "decode": [], "judge": [], "record": []}
    with tempfile.TemporaryDirectory(prefix="veracity-judging-") as folder:
        run = _trained(Path(folder), arguments.size, arguments.steps)
        with Reader(run / "ledger") as reader:
            entries = [Entry.decode(one) for one in reader.entries(0, reader.size)]
        blobs = Blobs(run / "blobs")
        half = _index_of_step(entries, blobs, arguments.steps // 2)
        later = [one for one in entries[half:] if one.kind in ("record", "observed")]
        frames = [_frame(entry, blobs) for entry in later if entry.kind == "record"]
        for number in range(arguments.rounds):
            rows["floor"].append(_timed(lambda: [hashlib.sha256(one).digest() for one in frames])[1])
            seen, seconds = _timed(lambda: [replayed(entry, blobs) for entry in later])
            rows["decode"].append(seconds)
            before = [one for one in (replayed(entry, blobs) for entry in entries[:half]) if one is not None]
            rows["judge"].append(_judged(before, [one for one in seen if one is not None], arguments.ranks))
            rows["record"].append(_recorded(Path(folder) / f"log-{number}", later, frames))
        steps = sum(isinstance(replayed(entry, blobs), StepRecord) for entry in later)
    print(f"{steps} steps, {len(frames)} records of {sum(map(len, frames)) / len(frames):,.0f} bytes")
    rows["all three"] = [
        sum(each) for each in zip(rows["decode"], rows["judge"], rows["record"], strict=True)
    ]
    for name, taken in rows.items():
        each = sorted(1e3 * one / steps for one in taken)
        middle = statistics.median(each)
        rate = len(frames) / steps * 1e3 / middle
        print(f"{name:>9}: {middle:.2f} ms a step ({each[0]:.2f}-{each[-1]:.2f}), {rate:,.0f} records/s")
    return 0


def _index_of_step(entries: Sequence[Entry], blobs: Blobs, step: int) -> int:
    """The first entry after the record of a step: what comes before it is a run's beginning."""
    for at, entry in enumerate(entries):
        seen = replayed(entry, blobs)
        if isinstance(seen, StepRecord) and seen.step >= step:
            return at + 1
    raise SystemExit("the run has too few steps")


def _trained(folder: Path, size: str, steps: int) -> Path:
    victim = Path(__file__).parents[1] / "src/veracity/drill/victims/chargpt/train.py"
    command = [sys.executable, "-m", "veracity", "run", "--home", str(folder), "--overhead", "50%", "--"]
    command += [sys.executable, str(victim), "--size", size, "--steps", str(steps), "--threads", "1"]
    subprocess.run([*command, "--out-dir", str(folder / "out")], check=True, capture_output=True)
    (run,) = (folder / "runs").iterdir()
    return run


def _frame(entry: Entry, blobs: Blobs) -> bytes:
    named = entry.body.get("frame")
    return blobs.get(Digest.parse(str(named)), MAX_PAYLOAD) if named else entry.encode()


def _judged(before: Sequence[Observation], later: Sequence[Observation], ranks: int) -> float:
    """Processor seconds for one rank's later records, when ``ranks`` ranks are judged in turn."""
    judge = Judge(DETECTORS)
    for rank in range(ranks):
        for one in before:
            list(judge.observe(_of(rank, one)))
    moved = [_of(rank, one) for one in later for rank in range(ranks)]
    return _timed(lambda: sum(len(list(judge.observe(one))) for one in moved))[1] / ranks


def _of(rank: int, one: Observation) -> Observation:
    origin = dataclasses.replace(one.origin, pid=one.origin.pid + 100_000 * rank)
    return dataclasses.replace(one, origin=origin)


def _recorded(folder: Path, entries: Sequence[Entry], frames: Sequence[bytes]) -> float:
    """Processor seconds for blobs of the frames and an entry each in a new log, committed in batches."""
    folder.mkdir()
    blobs = Blobs(folder / "blobs")

    def append() -> None:
        with Ledger.create(folder / "ledger", "bench/judging", SigningKey.generate("bench")) as ledger:
            for at, frame in enumerate(frames):
                blobs.put(frame)
                ledger.append(entries[at].encode())
                if at % BATCH == BATCH - 1:
                    ledger.commit()
            ledger.commit()

    return _timed(append)[1]


def _timed(work: Callable[[], T]) -> tuple[T, float]:
    begun = time.process_time()
    result = work()
    return result, time.process_time() - begun


if __name__ == "__main__":
    raise SystemExit(main())
