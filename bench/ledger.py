"""What a durable append to a ledger costs, beside bare ``fdatasync`` of the same entries.

    python bench/ledger.py [--rounds 7] [--folder DIR] [--appends 500] [--batches 20] [--audit N]

Two floors, for there are two ways to append durably: the *growing* file is written at its end and synced, as
whoever just appends does, so that the file system commits its own journal, too; the *filled* one was filled
with zeros before, which are replaced. Neither hashes, signs or frames anything. Ours is ``append`` and
``commit`` of each entry: leaf hash, root, signed tree head, journal. Ten appends of each take turns, on one
file system. ``batches`` are commits of a thousand entries to a ledger of its own. Entries have 200 bytes; a
ledger is made and closed outside the timed part. Times by the clock, as median (min-max) over the means of
rounds, with the median of this process's own processor time behind it. ``--audit``: a ledger of so many
entries is verified as a whole.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from veracity.ledger.keys import SigningKey
from veracity.ledger.reader import Reader
from veracity.ledger.store import Ledger

ORIGIN = "log.example/bench"
BATCH = 1_000
TURN = 10


def main() -> int:
    """Run the rounds and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--folder", type=Path, help="on which file system (default: a temporary folder)")
    parser.add_argument("--appends", type=int, default=500)
    parser.add_argument("--batches", type=int, default=20)
    parser.add_argument("--audit", type=int, default=0, help="verify a ledger of so many entries, too")
    arguments = parser.parse_args()
    load = " ".join(f"{one:.1f}" for one in os.getloadavg())
    print(f"{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}, load {load}\n")
    made = Path(tempfile.mkdtemp(prefix="veracity-bench-ledger-", dir=arguments.folder))
    try:
        appends(made, arguments.rounds, arguments.appends, arguments.batches)
        if arguments.audit:
            audit(made, arguments.rounds, arguments.audit)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return 0


def appends(made: Path, rounds: int, count: int, batches: int) -> None:
    """The table of durable appends."""
    entries = [b"%0200d" % number for number in range(BATCH * batches)]
    taken: dict[str, list[tuple[float, float]]] = {"growing": [], "filled": [], "ours": [], "batches": []}
    for _ in range(rounds):
        for name, one in in_turn(made, entries[:count]).items():
            taken[name].append(one)
        with new_ledger(made) as ledger:
            taken["batches"].append(timed(partial(committed, ledger, entries, BATCH), len(entries)))
    print("| durable appends | a second | µs each | processor time, µs |\n|---|---|---|---|")
    for name, values in taken.items():
        clock, own = [one for one, _ in values], [one for _, one in values]
        rate, each = span([1 / one for one in clock], "{:,.0f}"), span([one * 1e6 for one in clock])
        print(f"| {name} | {rate} | {each} | {statistics.median(own) * 1e6:.0f} |")
    for floor in ("growing", "filled"):
        ratio = [one[0] / other[0] for one, other in zip(taken[floor], taken["ours"], strict=True)]
        print(f"\nours / {floor}, by rate: {span(ratio, '{:.2f}')}")


def in_turn(made: Path, entries: list[bytes]) -> dict[str, tuple[float, float]]:
    """Seconds for each entry, by the clock and of this process, of the floors and of ours."""
    growing, filled = Bare(made / "growing"), Bare(made / "filled", sum(map(len, entries)))
    with new_ledger(made) as ledger:
        ways: dict[str, Callable[[list[bytes]], object]] = {
            "growing": growing.append,
            "filled": filled.append,
            "ours": partial(committed, ledger, each=1),
        }
        parts: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        for at in range(0, len(entries), TURN):
            few = entries[at : at + TURN]
            for name, append in ways.items():
                parts[name].append(timed(partial(append, few), len(few)))
    growing.close()
    filled.close()
    return {
        name: (statistics.fmean(clock for clock, _ in found), statistics.fmean(own for _, own in found))
        for name, found in parts.items()
    }


class Bare:
    """A file to which entries are appended, each durable before the next; ``filled`` with so many zeros."""

    def __init__(self, path: Path, filled: int = 0) -> None:
        self._path = path
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        self._at = 0
        os.write(self._handle, bytes(filled))
        os.fsync(self._handle)

    def append(self, entries: list[bytes]) -> None:
        """Each entry behind the one before it."""
        for entry in entries:
            self._at += os.pwrite(self._handle, entry, self._at)
            os.fdatasync(self._handle)

    def close(self) -> None:
        """Remove the file."""
        os.close(self._handle)
        self._path.unlink()


@contextmanager
def new_ledger(made: Path) -> Iterator[Ledger]:
    """A ledger that is gone afterwards."""
    folder = made / "ledger"
    try:
        with Ledger.create(folder, ORIGIN, SigningKey.generate(ORIGIN)) as ledger:
            yield ledger
    finally:
        shutil.rmtree(folder)


def committed(ledger: Ledger, entries: list[bytes], each: int) -> None:
    """All entries, ``each`` at a time."""
    for number, entry in enumerate(entries, start=1):
        ledger.append(entry)
        if number % each == 0:
            ledger.commit()


def audit(made: Path, rounds: int, count: int) -> None:
    """Seconds for the whole of a ledger to be verified."""
    key = SigningKey.generate(ORIGIN)
    with Ledger.create(made / "audited", ORIGIN, key) as ledger:
        committed(ledger, [b"%0200d" % number for number in range(count)], BATCH)
    taken = []
    for _ in range(rounds):
        with Reader(made / "audited") as reader:
            taken.append(timed(lambda: reader.verify_tree(key.verifier), 1)[0])
    print(f"\naudit of {count:,} entries: {span(taken, '{:.1f}')} s")


def timed(work: Callable[[], object], count: int) -> tuple[float, float]:
    """Seconds for each of ``count``, by the clock and of this process."""
    began, own = time.perf_counter(), time.process_time()
    work()
    return (time.perf_counter() - began) / count, (time.process_time() - own) / count


def span(values: list[float], form: str = "{:.0f}") -> str:
    """Median and range."""
    median, least, most = statistics.median(values), min(values), max(values)
    return f"{form.format(median)} ({form.format(least)}-{form.format(most)})"


if __name__ == "__main__":
    raise SystemExit(main())
