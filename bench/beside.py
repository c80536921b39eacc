"""What the guard and the monitor cost, side by side: each training on a core of its own, which they exchange.

    python -m bench.beside [--sizes small medium] [--minutes 4] [--settle 1500]

A plain and a guarded run of the character GPT, one thread each, train at the same time on two cores;
whatever belongs to the guarded one, its monitor and its loader's workers too, has its core. Every few
seconds they exchange cores. How many steps each made in the same time is the ratio, so drifts of the
machine are in both, nothing is stopped and continued, and the monitor's time counts in full. Before it, two
plain runs are compared in the same way: what they differ by is the precision. Needs two cores that are not
used otherwise.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from .overhead import Training, cpu_seconds, start, tree

SLICE = 4.0
SETTLING = 3.0


def main() -> int:
    """Compare two plain runs, then a plain and a guarded one, of each size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", nargs="+", default=["small", "medium"])
    parser.add_argument("--minutes", type=float, default=4.0, help="how long the guarded comparison takes")
    parser.add_argument("--settle", type=int, default=1500, help="steps before it, of the guarded run")
    arguments = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="veracity-bench-home-"))
    print(f"{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}")
    print("\n| size | plain / plain | guarded / plain | plain step | guarded step | monitor |")
    print("|---|---|---|---|---|---|")
    try:
        for size in arguments.sizes:
            with start(size, 10, 1, home) as cold:
                cold.finish()
            alike = beside(size, [None, None], arguments.minutes / 2, 100)
            other = beside(size, [None, home], arguments.minutes, arguments.settle)
            print(
                f"| {size} | {alike[1] / alike[0]:.3f} | {other[1] / other[0]:.3f} | {1e3 * other[0]:.1f} ms"
                f" | {1e3 * other[1]:.1f} ms | {100 * other[2]:.1f} % of a core |",
                flush=True,
            )
    finally:
        shutil.rmtree(home, ignore_errors=True)
    return 0


def beside(
    size: str, homes: Sequence[Path | None], minutes: float, settle: int
) -> tuple[float, float, float]:
    """Seconds per step of the two, and the processor time of the second one's monitor per second."""
    with contextlib.ExitStack() as stack:
        both = [stack.enter_context(start(size, 10**6, 1, home)) for home in homes]
        try:
            turn = 0
            while any(training.rows() < settle for training in both):
                pin(both, turn)
                turn += 1
                time.sleep(SETTLING)
            before, began = [training.rows() for training in both], time.monotonic()
            busy = cpu_seconds(both[1].process.pid)
            for _ in range(2 * round(30 * minutes / SLICE)):
                pin(both, turn)
                turn += 1
                time.sleep(SLICE)
            made = [training.rows() - rows for training, rows in zip(both, before, strict=True)]
            took = time.monotonic() - began
            busy = cpu_seconds(both[1].process.pid) - busy
        finally:
            for training in both:
                for pid in reversed(tree(training.process.pid)):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, 9)
                training.process.wait()
        return took / made[0], took / made[1], busy / took


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
