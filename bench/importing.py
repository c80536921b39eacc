"""What the guard adds to ``import torch``: the program with and without it, in turn.

    python bench/importing.py [--rounds 7] [--program "import torch"]

Times are those of the program's own process, by ``wait4``: processor time (user and system) and by the clock.
Guarded programs run under ``veracity run`` in a home of their own, whose first run, which remembers the
bytecode and compiles the guard, is not counted.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

CHILD = """
import json, os, sys, time
began = time.perf_counter()
child = os.posix_spawn(sys.executable, [sys.executable, '-c', sys.argv[1]], os.environ)
_, status, usage = os.wait4(child, 0)
took = time.perf_counter() - began
print(json.dumps([status, usage.ru_utime + usage.ru_stime, took]))
"""
WARM_SECONDS = 30
"""How long the first guarded program goes on, so that the monitor comes to the end of its modules."""


def main() -> int:
    """Run the rounds, print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--program", default="import torch")
    arguments = parser.parse_args()
    load = " ".join(f"{one:.1f}" for one in os.getloadavg())
    print(f"{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}, load {load}")
    with tempfile.TemporaryDirectory(prefix="veracity-bench-import-") as folder:
        guarded = [
            sys.executable,
            "-m",
            "veracity",
            "--home",
            str(Path(folder, "home")),
            "run",
            "--quiet",
            "--",
        ]
        timed([], arguments.program)
        timed(guarded, f"{arguments.program}\nimport time\ntime.sleep({WARM_SECONDS})")
        plain, ours = [], []
        for _ in range(arguments.rounds):
            plain.append(timed([], arguments.program))
            ours.append(timed(guarded, arguments.program))
    print("\n| | plain | guarded | ratio | of the fastest |\n|---|---|---|---|---|")
    for number, name in enumerate(("processor time", "by the clock")):
        without, with_it = ([one[number] for one in times] for times in (plain, ours))
        ratio = statistics.median(with_it) / statistics.median(without)
        fastest = min(with_it) / min(without)
        print(f"| {name} | {span(without)} | {span(with_it)} | {ratio:.3f} | {fastest:.3f} |")
    return 0


def timed(before: list[str], program: str) -> tuple[float, float]:
    """Processor time and time by the clock of a process that runs ``program``, in seconds."""
    done = subprocess.run(
        [*before, sys.executable, "-c", CHILD, program], stdout=subprocess.PIPE, check=False
    )
    for line in done.stdout.splitlines():
        if line.startswith(b"["):
            status, processor, clock = json.loads(line)
            if status == 0:
                return processor, clock
    raise SystemExit("the program did not end as it should")


def span(values: list[float]) -> str:
    """Median and range."""
    return f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f}) s"


if __name__ == "__main__":
    raise SystemExit(main())
