"""What the guard and the monitor cost: guarded against plain, interleaved slice by slice.

    python bench/overhead.py [--rounds 5] [--sizes small medium] [--steps 300] [--threads 0]

The speed of a shared machine drifts by a factor of two within a minute, so whole runs one after the other
cannot show five per cent. Each round starts the victim twice plain and once guarded and lets them take turns:
one trains for a slice of steps while the others, with the monitor and everything else below it, are stopped
(SIGSTOP). What the two plain ones differ by is the precision of the round.
They begin when both have trained for a while, in which the monitor looks through the imported code and the
guard uses up the credit of a run's first steps (``guard/schedule.py``).
A round's ratio is that of the sums of all steps but the first after each turn, the plain ones' mean below:
few steps are looked at, and a median would leave them out. The median over neighbouring slices stands
beside it. ``in the guard`` is what the run itself reports of the thread that trains, its first steps
included. The home was filled by a first, cold run. Reported per size, as median (min-max) over rounds, are
also the difference of the peaks of resident memory of the training process, the difference in start-up
(wall time until the first step is written, nothing else running), the processor time of the monitor per
second of training, and the record's size per step. Step times are the victim's own.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

POLL = 0.02
SKIPPED_OF_TURN = {"small": 8, "medium": 3}
STEPS = {"small": 600, "medium": 300}
SETTLE = {"small": 2000, "medium": 600}
SLICE = {"small": 33, "medium": 10}


@dataclass(frozen=True)
class Round:
    """One pair of runs: times in s, memory in MiB, processor s per s of training, bytes per step."""

    ratio: float
    median: float
    control: float
    inside: float
    plain: float
    guarded: float
    startup: float
    memory: float
    monitor: float
    record: float


@dataclass
class Training:
    """A victim at work, alone or below its monitor."""

    process: subprocess.Popen[bytes]
    folder: Path
    started: float
    first_row: float = 0.0
    memory: float = 0.0
    monitor: float = 0.0
    turns: list[tuple[int, int]] = field(default_factory=list)

    def rows(self) -> int:
        """Steps written so far."""
        try:
            return (self.folder / "metrics.jsonl").read_bytes().count(b"\n")
        except OSError:
            return 0

    def go(self, steps: int, skipped: int = 0) -> bool:
        """Let it train that many steps, then stop it; False when it has ended."""
        for pid in reversed(tree(self.process.pid)):
            send(pid, signal.SIGCONT)
        before = self.rows()
        while self.rows() < before + steps:
            if self.process.poll() is not None:
                return False
            if not self.first_row and self.rows():
                self.first_row = time.monotonic()
            self.monitor = max(self.monitor, cpu_seconds(self.process.pid))
            time.sleep(POLL)
        # The monitor first, so that it does not see the others stop one by one.
        for pid in tree(self.process.pid):
            send(pid, signal.SIGSTOP)
        self.turns.append((before + skipped, self.rows()))
        self.look()
        return True

    def look(self) -> None:
        """Note the victim's memory so far."""
        for pid in tree(self.process.pid):
            if is_victim(pid):
                self.memory = max(self.memory, peak_memory(pid))

    def finish(self) -> None:
        """Let it end by itself."""
        while self.go(1 << 30):
            pass
        if self.process.wait() != 0:
            raise SystemExit(f"the run failed with {self.process.returncode}")

    def times(self) -> list[float]:
        """Seconds of each step."""
        lines = (self.folder / "metrics.jsonl").read_text().splitlines()
        return [row["ms"] / 1e3 for row in map(json.loads, lines) if "ms" in row]


def main() -> int:
    """Run the rounds and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sizes", nargs="+", default=["small", "medium"])
    parser.add_argument(
        "--steps", type=int, default=0, help="steps measured per run (0: 600 small, 300 medium)"
    )
    parser.add_argument(
        "--threads", type=int, default=0, help="CPU threads of the victim (0: torch's choice)"
    )
    arguments = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="veracity-bench-home-"))
    print(f"{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}")
    for size in arguments.sizes:
        steps = arguments.steps or STEPS[size]
        with start(size, 10, arguments.threads, home) as cold:
            cold.finish()
        rounds = []
        for number in range(arguments.rounds):
            rounds.append(run_round(size, steps, arguments.threads, home, number))
            found = rounds[-1]
            print(
                f"  {size} {number + 1}: {1e3 * found.plain:.1f} -> {1e3 * found.guarded:.1f} ms,"
                f" ratio {found.ratio:.3f} (median {found.median:.3f}), plain / plain {found.control:.3f},"
                f" start-up {found.startup:+.2f} s",
                flush=True,
            )
        report(size, steps, rounds)
    shutil.rmtree(home, ignore_errors=True)
    return 0


@contextlib.contextmanager
def start(size: str, steps: int, threads: int, home: Path | None) -> Iterator[Training]:
    """The character GPT in a folder of its own, guarded when there is a ``home``."""
    from veracity.drill.victim import victim_path

    folder = Path(tempfile.mkdtemp(prefix="veracity-bench-"))
    command = [
        sys.executable, str(victim_path("chargpt")), "--size", size, "--steps", str(steps), "--seed", "1",
        "--out-dir", str(folder), "--eval-every", "0", "--save-every", "0", "--threads", str(threads),
    ]  # fmt: skip
    if home is not None:
        guarded = ["-m", "veracity.cli.main", "--home", str(home), "run", "--quiet", "--"]
        command = [sys.executable, *guarded, *command]
    try:
        started = time.monotonic()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        yield Training(process, folder, started)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def run_round(size: str, steps: int, threads: int, home: Path, number: int) -> Round:
    """Two plain runs and a guarded one, taking turns; who begins changes with the ``number`` of the round."""
    steps += SETTLE[size]
    homes = [None, home, None]
    homes = homes[number % 3 :] + homes[: number % 3]
    with contextlib.ExitStack() as stack:
        trainings = []
        for one in homes:
            trainings.append(stack.enter_context(start(size, steps, threads, one)))
            trainings[-1].go(SETTLE[size])
        for training in trainings:
            training.turns.clear()
        while all(training.go(SLICE[size], SKIPPED_OF_TURN[size]) for training in trainings):
            continue
        for training in trainings:
            training.finish()
        plain = [one for one, of in zip(trainings, homes, strict=True) if of is None]
        return compared(plain, trainings[homes.index(home)], home, steps)


def compared(plain: list[Training], guarded: Training, home: Path, steps: int) -> Round:
    """The slices of all runs side by side."""
    everyone = [*plain, guarded]
    turns = min(len(training.turns) for training in everyone)
    slices = [[training.times()[begin:end] for begin, end in training.turns[:turns]] for training in everyone]
    first, second, watched = (sum(map(sum, one)) / sum(map(len, one)) for one in slices)
    medians = [[statistics.median(taken) for taken in one] for one in slices]
    return Round(
        ratio=2 * watched / (first + second),
        median=statistics.median(2 * mine / (one + other) for one, other, mine in zip(*medians, strict=True)),
        control=second / first,
        inside=share_in_guard(home),
        plain=statistics.median(medians[0] + medians[1]),
        guarded=statistics.median(medians[2]),
        startup=started_after(guarded) - statistics.mean(map(started_after, plain)),
        memory=guarded.memory - statistics.mean(one.memory for one in plain),
        monitor=guarded.monitor / sum(guarded.times()),
        record=recorded_bytes(home) / steps,
    )


def started_after(training: Training) -> float:
    """Seconds until its first step was written."""
    return training.first_row - training.started


def share_in_guard(home: Path) -> float:
    """What the home's newest run says of the process that trained."""
    command = [sys.executable, "-m", "veracity.cli.main", "--home", str(home), "--format", "json"]
    shown = subprocess.run([*command, "show", "latest"], stdout=subprocess.PIPE, check=False)
    trained = max(json.loads(shown.stdout)["processes"], key=lambda process: process["trained"])
    return float(trained["spent"] / trained["trained"])


def send(pid: int, number: signal.Signals) -> None:
    """Signal one process, if it still is there."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def tree(pid: int) -> list[int]:
    """A process and all below it, parents first."""
    found = [pid]
    for one in found:
        found += children(one)
    return found


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


def report(size: str, steps: int, rounds: list[Round]) -> None:
    """One Markdown table per size."""

    def line(name: str, values: list[float], unit: str, digits: int) -> None:
        middle, low, high = statistics.median(values), min(values), max(values)
        print(f"| {name} | {middle:.{digits}f}{unit} | {low:.{digits}f}-{high:.{digits}f} |")

    print(f"\n### {size}: {steps} steps, {len(rounds)} rounds\n\n| | median | min-max |\n|---|---|---|")
    line("guarded / plain, all steps", [one.ratio for one in rounds], "", 3)
    line("guarded / plain, median of slices", [one.median for one in rounds], "", 3)
    line("plain / plain", [one.control for one in rounds], "", 3)
    line("in the guard, first steps included", [100 * one.inside for one in rounds], " %", 1)
    line("plain step", [1e3 * one.plain for one in rounds], " ms", 1)
    line("guarded step", [1e3 * one.guarded for one in rounds], " ms", 1)
    line("memory of the rank", [one.memory for one in rounds], " MiB more", 0)
    line("start-up to the first step", [one.startup for one in rounds], " s more", 2)
    line("monitor", [100 * one.monitor for one in rounds], " % of a second core", 1)
    line("record", [one.record / 1024 for one in rounds], " KiB per step", 1)
    print()


if __name__ == "__main__":
    sys.exit(main())
