"""What the guard and the monitor cost: guarded against plain, interleaved, as whole processes.

    python bench/overhead.py [--rounds 5] [--sizes small medium] [--steps 200] [--threads 0]

Each round runs the victim plain and guarded, in alternating order, in a home that a first, cold run has
filled. Reported per size, as median (min-max) over rounds: the ratio of the median step times, the difference
of the peaks of resident memory of the training process, the difference in start-up (wall time until the first
step is written), the processor time of the monitor per second of training, and the record's size per step.
Step times are the victim's own.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

SKIPPED_STEPS = 10
POLL = 0.02


@dataclass(frozen=True)
class Measured:
    """One run: times in s, memory in MiB, the monitor's processor s per s of training, bytes per step."""

    step: float
    startup: float
    memory: float
    monitor: float
    record: float


def main() -> int:
    """Run the rounds and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sizes", nargs="+", default=["small", "medium"])
    parser.add_argument("--steps", type=int, default=0, help="steps per run (0: 300 small, 60 medium)")
    parser.add_argument(
        "--threads", type=int, default=0, help="CPU threads of the victim (0: torch's choice)"
    )
    arguments = parser.parse_args()
    homes = Path(tempfile.mkdtemp(prefix="veracity-bench-home-"))
    print(f"{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}")
    for size in arguments.sizes:
        steps = arguments.steps or {"small": 300, "medium": 60}[size]
        pairs = []
        cold = run(size, steps, arguments.threads, homes, guarded=True)
        print(f"  {size} cold home: step {1e3 * cold.step:.1f} ms", flush=True)
        for number in range(arguments.rounds):
            order = (False, True) if number % 2 == 0 else (True, False)
            found = {
                guarded: run(size, steps, arguments.threads, homes, guarded=guarded) for guarded in order
            }
            pairs.append((found[False], found[True]))
            plain, guarded_run = pairs[-1]
            print(
                f"  {size} {number + 1}: step {1e3 * plain.step:.1f} -> {1e3 * guarded_run.step:.1f} ms",
                flush=True,
            )
        report(size, steps, pairs)
    shutil.rmtree(homes, ignore_errors=True)
    return 0


def run(size: str, steps: int, threads: int, homes: Path, *, guarded: bool) -> Measured:
    """One run of the character GPT in a folder of its own."""
    from veracity.drill.victim import victim_path

    folder = Path(tempfile.mkdtemp(prefix="veracity-bench-"))
    try:
        command = [
            sys.executable, str(victim_path("chargpt")), "--size", size, "--steps", str(steps), "--seed", "1",
            "--out-dir", str(folder / "out"), "--eval-every", "0", "--threads", str(threads),
        ]  # fmt: skip
        if guarded:
            home = str(homes)
            command = [
                sys.executable,
                "-m",
                "veracity.cli.main",
                "--home",
                home,
                "run",
                "--quiet",
                "--",
                *command,
            ]
        started = time.monotonic()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        watched = watch(process, folder / "out" / "metrics.jsonl")
        if process.returncode != 0:
            raise SystemExit(f"the run failed with {process.returncode}")
        rows = [json.loads(line) for line in (folder / "out" / "metrics.jsonl").read_text().splitlines()]
        times = [row["ms"] / 1e3 for row in rows if "ms" in row]
        return Measured(
            step=statistics.median(times[SKIPPED_STEPS:]),
            startup=watched.first_row - started,
            memory=watched.memory,
            monitor=watched.monitor / sum(times) if guarded else 0.0,
            record=recorded_bytes(homes) / steps if guarded else 0.0,
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@dataclass
class Watched:
    """What was seen of a run's processes while they lived."""

    first_row: float = 0.0
    memory: float = 0.0
    monitor: float = 0.0


def watch(process: subprocess.Popen[bytes], metrics: Path) -> Watched:
    """Wait for the run's end; note when its first step was written, its memory, and the monitor's time."""
    seen = Watched()
    while process.poll() is None:
        if not seen.first_row and metrics.exists() and metrics.stat().st_size:
            seen.first_row = time.monotonic()
        for pid in [process.pid, *children(process.pid)]:
            if is_victim(pid):
                seen.memory = max(seen.memory, peak_memory(pid))
            elif pid == process.pid:
                seen.monitor = max(seen.monitor, cpu_seconds(pid))
        time.sleep(POLL)
    return seen


def children(pid: int) -> list[int]:
    """Direct children of a process."""
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def is_victim(pid: int) -> bool:
    """Whether the process runs the training script itself."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return len(words) > 1 and words[1].endswith(b"train.py")


def peak_memory(pid: int) -> float:
    """Peak resident memory so far in MiB."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    lines = [line for line in text.splitlines() if line.startswith("VmHWM")]
    return int(lines[0].split()[1]) / 1024 if lines else 0.0


def cpu_seconds(pid: int) -> float:
    """Processor time of one process without its children, in seconds."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def recorded_bytes(home: Path) -> int:
    """Bytes of ledger and blobs of the home's newest run."""
    run = max((home / "runs").iterdir())
    return sum(
        path.stat().st_size
        for room in ("ledger", "blobs")
        for path in (run / room).rglob("*")
        if path.is_file()
    )


def report(size: str, steps: int, pairs: list[tuple[Measured, Measured]]) -> None:
    """One Markdown table per size."""

    def line(name: str, values: list[float], unit: str, digits: int) -> None:
        middle, low, high = statistics.median(values), min(values), max(values)
        print(f"| {name} | {middle:.{digits}f}{unit} | {low:.{digits}f}-{high:.{digits}f} |")

    print(f"\n### {size}: {steps} steps, {len(pairs)} rounds\n\n| | median | min-max |\n|---|---|---|")
    line("plain step", [1e3 * plain.step for plain, _ in pairs], " ms", 1)
    line("guarded step", [1e3 * guarded.step for _, guarded in pairs], " ms", 1)
    line("guarded / plain step", [guarded.step / plain.step for plain, guarded in pairs], "", 3)
    line("memory of the rank", [guarded.memory - plain.memory for plain, guarded in pairs], " MiB more", 0)
    line(
        "start-up to the first step",
        [guarded.startup - plain.startup for plain, guarded in pairs],
        " s more",
        2,
    )
    line("monitor", [100 * guarded.monitor for _, guarded in pairs], " % of a second core", 1)
    line("record", [guarded.record / 1024 for _, guarded in pairs], " KiB per step", 1)
    print()


if __name__ == "__main__":
    sys.exit(main())
