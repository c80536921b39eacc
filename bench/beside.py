"""What the guard and the monitor cost, side by side: each training on a core of its own, which they exchange.

    python -m bench.beside [--sizes small medium] [--pairs 12] [--seconds 24] [--settle 2000]

A plain and a guarded run of the character GPT, one thread each, train at the same time on two cores;
whatever belongs to the guarded one, its monitor and its loader's workers too, has its core. Every few
seconds they exchange cores. How many steps each made in the same time is the ratio, so drifts of the
machine are in both, nothing is stopped and continued, and the monitor's time counts in full.

Two plain runs differ by some percent for as long as they live (where their memory lies), so one pair says
little: each pair is of new processes, plain pairs and guarded ones take turns, and in every other pair
the guarded run, or the second plain one, was started first. The result is the mean over pairs with a 95 %
interval (Student's t), of the plain pairs as well: their mean is 1 if nothing else is measured. Needs two
cores that are not used otherwise.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import platform
import shutil
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .overhead import Training, cpu_seconds, start, tree

SLICE = 4.0
SETTLING = 2.0
PLAIN_SETTLES = 60
# Two-sided 95 % of Student's t by degrees of freedom; the normal distribution's beyond.
_T = {1: 12.71, 2: 4.30, 3: 3.18, 4: 2.78, 5: 2.57, 6: 2.45, 7: 2.36, 8: 2.31, 9: 2.26, 10: 2.23, 11: 2.20}
_T |= {12: 2.18, 13: 2.16, 14: 2.14, 15: 2.13, 16: 2.12, 17: 2.11, 18: 2.10, 19: 2.09, 23: 2.07, 29: 2.05}


@dataclass(frozen=True)
class Pair:
    """Seconds per step of a plain run and of the other; the part of a core that the latter's monitor took."""

    plain: float
    other: float
    monitor: float

    @property
    def ratio(self) -> float:
        """Of the other to the plain one."""
        return self.other / self.plain


def main() -> int:
    """Compare pairs of each size; print a Markdown table and each pair."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", nargs="+", default=["small", "medium"])
    parser.add_argument("--pairs", type=int, default=12, help="guarded pairs, and as many plain ones")
    parser.add_argument("--seconds", type=float, default=24.0, help="how long a pair is compared")
    parser.add_argument("--settle", type=int, default=2000, help="steps of a guarded run before that")
    arguments = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="veracity-bench-home-"))
    print(f"{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}")
    rows = []
    try:
        for size in arguments.sizes:
            with start(size, 10, 1, home) as cold:
                cold.finish()
            plain, guarded = [], []
            for number in range(arguments.pairs):
                before = bool(number % 2)
                plain.append(beside(size, None, arguments.seconds, PLAIN_SETTLES, before=before))
                guarded.append(beside(size, home, arguments.seconds, arguments.settle, before=before))
                print(f"  {size} {number + 1}: {plain[-1].ratio:.3f}, {guarded[-1].ratio:.3f}", flush=True)
            monitor = 100 * statistics.median(one.monitor for one in guarded)
            rows.append(
                f"| {size} | {interval(plain)} | {interval(guarded)}"
                f" | {1e3 * statistics.median(one.plain for one in guarded):.1f} ms | {monitor:.1f} % |"
            )
    finally:
        shutil.rmtree(home, ignore_errors=True)
    print(
        "\n| size | plain / plain | guarded / plain | plain step | monitor, of a core |\n" + "|---" * 5 + "|"
    )
    print("\n".join(rows))
    return 0


def interval(pairs: Sequence[Pair]) -> str:
    """Geometric mean of the ratios with its 95 % interval, and the range."""
    logs = [math.log(one.ratio) for one in pairs]
    mean = statistics.fmean(logs)
    if len(logs) < 2:
        return f"{math.exp(mean):.3f}"
    t = next((value for degrees, value in sorted(_T.items()) if degrees >= len(logs) - 1), 1.96)
    half = t * statistics.stdev(logs) / math.sqrt(len(logs))
    low, high = min(one.ratio for one in pairs), max(one.ratio for one in pairs)
    inside = f"{math.exp(mean - half):.3f}-{math.exp(mean + half):.3f}"
    return f"{math.exp(mean):.3f} (95 %: {inside}; pairs {low:.3f}-{high:.3f})"


def beside(size: str, home: Path | None, seconds: float, settle: int, *, before: bool) -> Pair:
    """One pair: a plain run, and another, guarded when there is a ``home``; it starts ``before`` or after."""
    with contextlib.ExitStack() as stack:
        homes = [home, None] if before else [None, home]
        both = [stack.enter_context(start(size, 10**6, 1, one)) for one in homes]
        other, plain = both if before else both[::-1]
        try:
            turn = 0
            while any(training.rows() < settle for training in both):
                pin(both, turn)
                turn += 1
                time.sleep(SETTLING)
            rows, began = (plain.rows(), other.rows()), time.monotonic()
            busy = cpu_seconds(other.process.pid)
            for _ in range(2 * max(1, round(seconds / SLICE / 2))):
                pin(both, turn)
                turn += 1
                time.sleep(SLICE)
            made = plain.rows() - rows[0], other.rows() - rows[1]
            took = time.monotonic() - began
            busy = cpu_seconds(other.process.pid) - busy
        finally:
            for training in both:
                for pid in reversed(tree(training.process.pid)):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, 9)
                training.process.wait()
        return Pair(took / made[0], took / made[1], busy / took)


def pin(both: Sequence[Training], turn: int) -> None:
    """Each training, all its processes and threads, to the core whose turn it is."""
    cores = sorted(os.sched_getaffinity(0))[:2]
    for number, training in enumerate(both):
        for pid in tree(training.process.pid):
            with contextlib.suppress(OSError):
                for thread in os.listdir(f"/proc/{pid}/task"):
                    os.sched_setaffinity(int(thread), {cores[(number + turn) % 2]})


if __name__ == "__main__":
    raise SystemExit(main())
