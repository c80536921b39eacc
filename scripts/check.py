"""Every check of the project in one command; ``make test`` and CI run this and nothing else.

Each check prints one line with its time, and its output when it fails. All checks run even when an early
one fails, so one run shows everything; the exit code is 1 when any failed. Nothing here needs a network
beyond what single tests say about themselves.

Tests train, stop processes and wait for a monitor that takes only what others leave of the machine, so a
few may fail beside others on a machine that is held up. Those, if they are few, are run once more, alone.
Whatever passes only then is named as unsteady in the last lines; whatever fails twice has failed.

    python scripts/check.py                 everything
    python scripts/check.py --lint          all but the tests
    python scripts/check.py --soak          slow proofs, and the properties on forty times as many examples
    python scripts/check.py -- -k spool     arguments after -- go to pytest (coverage floors are skipped)
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FLOOR = 90
FLOORED_ROOMS = ("core", "detect", "ledger")
# Not module by module: that would leave all trainings of one module to the same worker.
WORKERS = ("-n", "2", "--dist", "worksteal")
PYTEST_TESTS_FAILED = 1
PYTEST_NOTHING_COLLECTED = 5
MOST_UNSTEADY = 5
_OUTCOME = re.compile(r"(\d+) (passed|failed|skipped|errors?|xfailed|xpassed)\b")
# Its parameters may hold anything but a dash between spaces, behind which pytest gives the reason.
_TEST = re.compile(r"^(.+?)(?: - .*)?$")
_CLOSING = re.compile(r"=* ?((?:\d+ \w+(?:, )?)+) in [\d.]+s.*")


@dataclass
class Outcome:
    """What ran so far: the names of failed checks, and pytest's counts summed over its runs."""

    failed: list[str] = field(default_factory=list)
    tests: Counter[str] = field(default_factory=Counter)
    unsteady: list[str] = field(default_factory=list)


def python_folders() -> list[str]:
    """The folders with Python in them, relative to the root; a folder that is still empty is left out."""
    folders = ("src/veracity", "tests", "scripts", "bench", "examples")
    return [folder for folder in folders if any((ROOT / folder).rglob("*.py"))]


def environment() -> dict[str, str]:
    """This environment without the user's own settings for Veracity and for colours.

    And with bytecode kept: hundreds of processes would compile the package, and two workers all tests.
    """
    left_out = ("FORCE_COLOR", "CLICOLOR_FORCE", "PY_COLORS", "PYTHONDONTWRITEBYTECODE")
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("VERACITY_") and name not in left_out
    }


def report(outcome: Outcome, name: str, seconds: float, problem: str = "") -> None:
    """One line per check."""
    print(f"{'FAILED' if problem else 'ok':6}  {name:<24} {seconds:7.1f} s", flush=True)
    if problem:
        outcome.failed.append(name)


def check(outcome: Outcome, name: str, *command: str) -> None:
    """Run ``command``; show its output only when it fails."""
    checked(outcome, name, *_captured(command))


def check_all(outcome: Outcome, checks: dict[str, tuple[str, ...]]) -> None:
    """Run commands that do not disturb each other, two at a time; report them in their order."""
    with ThreadPoolExecutor(2) as pool:
        for name, (done, seconds) in zip(checks, pool.map(_captured, checks.values()), strict=True):
            checked(outcome, name, done, seconds)


def checked(outcome: Outcome, name: str, done: subprocess.CompletedProcess[str], seconds: float) -> None:
    """Report a command that has ended."""
    if done.returncode:
        print(done.stdout.rstrip())
    report(outcome, name, seconds, "failed" if done.returncode else "")


def _captured(command: tuple[str, ...]) -> tuple[subprocess.CompletedProcess[str], float]:
    started = time.monotonic()
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    return done, time.monotonic() - started


def static_checks(outcome: Outcome, **more: tuple[str, ...]) -> None:
    """Style, types, architecture and sizes, and ``more``, all beside mypy, which leaves a core idle."""
    python, folders = sys.executable, python_folders()
    contracts = "from importlinter.cli import lint_imports_command as c; c()"
    check_all(
        outcome,
        {
            "mypy --strict": (python, "-m", "mypy", "--strict", "--no-error-summary", *folders),
            "ruff check": (python, "-m", "ruff", "check", "--quiet", *folders),
            "ruff format": (python, "-m", "ruff", "format", "--check", "--quiet", *folders),
            "import-linter": (python, "-c", contracts),
            "module sizes": (python, "scripts/module_sizes.py"),
            "generated docs": (python, "scripts/generate_docs.py", "--check"),
            **more,
        },
    )


def run_pytest(outcome: Outcome, name: str, *arguments: str, may_be_empty: bool = False) -> None:
    """Run pytest and keep its counts; a few tests that fail are run once more, alone."""
    started = time.monotonic()
    code, counts, failed = _pytest(*arguments)
    if code == PYTEST_TESTS_FAILED and len(failed) == counts["failed"] <= MOST_UNSTEADY:
        print(f"{len(failed)} failed: once more, alone", flush=True)
        code, again, _ = _pytest(*failed)
        counts.update({"passed": again["passed"], "failed": -again["passed"]})
        if code == 0 and again["passed"] == len(failed):
            outcome.unsteady += failed
        else:
            code = PYTEST_TESTS_FAILED
    outcome.tests.update(counts)
    empty = may_be_empty and code == PYTEST_NOTHING_COLLECTED
    report(outcome, name, time.monotonic() - started, "failed" if code and not empty else "")


def _pytest(*arguments: str) -> tuple[int, Counter[str], list[str]]:
    """Run pytest, passing its output through as it comes: exit code, counts, and which tests failed."""
    counts: Counter[str] = Counter()
    failed = []
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", *arguments],
        cwd=ROOT,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    with process:
        if process.stdout is not None:
            for line in process.stdout:
                print(line, end="", flush=True)
                if closing := _CLOSING.fullmatch(line.strip()):
                    counts.update({what: int(n) for n, what in _OUTCOME.findall(closing[1])})
                elif line.startswith("FAILED tests/"):
                    failed.append(_TEST.sub(r"\1", line.removeprefix("FAILED ").strip()))
    return process.returncode, counts, failed


def files_with(marker: str) -> list[str]:
    """The test files that use ``marker``: what to import when only its tests are wanted."""
    files = sorted((ROOT / "tests").rglob("test_*.py"))
    return [str(file.relative_to(ROOT)) for file in files if f"mark.{marker}" in file.read_text("utf-8")]


def tests(outcome: Outcome, chosen: list[str]) -> None:
    """The tests on two workers, then those that want the machine to themselves, then the floors."""
    if chosen:
        run_pytest(outcome, "pytest", *chosen)
        return
    # Only what has a floor is traced, and only where that matters (tests/tracing.py).
    coverage = (*(f"--cov=src/veracity/{room}" for room in FLOORED_ROOMS), "--cov-report=")
    run_pytest(outcome, "pytest", "-m", "not serial and not soak", *WORKERS, *coverage)
    alone = ("-m", "serial and not soak", *files_with("serial"))
    run_pytest(outcome, "pytest, serial", *alone, may_be_empty=True)
    for room in FLOORED_ROOMS:
        floor = ("--include", f"*/veracity/{room}/*", f"--fail-under={FLOOR}")
        check(outcome, f"coverage of {room} >= {FLOOR}%", sys.executable, "-m", "coverage", "report", *floor)


def soak(outcome: Outcome) -> None:
    """What a test run has no time for: slow proofs, and more examples of properties (tests/examples.py)."""
    run_pytest(outcome, "pytest, slow proofs", "-m", "soak and not serial", *WORKERS)
    run_pytest(outcome, "pytest, slow and alone", "-m", "soak and serial", may_be_empty=True)
    run_pytest(outcome, "pytest, properties", "-m", "hypothesis", "--hypothesis-profile=soak", *WORKERS)


def main() -> int:
    """Run what was asked for; 1 when any check failed."""
    parser = argparse.ArgumentParser(description="Run every check of the project.")
    parser.add_argument("--lint", action="store_true", help="all but the tests")
    parser.add_argument(
        "--soak", action="store_true", help="slow proofs, and many more examples of the properties"
    )
    parser.add_argument("pytest", nargs="*", help="after --: run pytest alone, with these arguments")
    asked = parser.parse_args()
    outcome = Outcome()
    with tempfile.TemporaryDirectory(prefix="veracity-tests-") as shared:
        os.environ["TESTS_SHARED"] = shared
        if asked.soak:
            soak(outcome)
        elif asked.lint:
            static_checks(outcome)
        elif not asked.pytest:
            static_checks(outcome, knowledge=(sys.executable, "-m", "tests.knowledge", shared))
        if not asked.lint and not asked.soak:
            tests(outcome, asked.pytest)
    if outcome.unsteady:
        print(f"\nunsteady, passed only alone: {', '.join(outcome.unsteady)}")
    if outcome.failed:
        print(f"\nfailed: {', '.join(outcome.failed)}")
    if outcome.tests:
        counts = outcome.tests
        wrong = counts["failed"] + counts["error"] + counts["errors"]
        print(f"{counts['passed']} passed, {wrong} failed, {counts['skipped']} skipped")
    return 1 if outcome.failed else 0


if __name__ == "__main__":
    sys.exit(main())
