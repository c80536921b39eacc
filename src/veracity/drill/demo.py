"""The demonstration: one clean run, and two planted changes that must be caught."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ..core.finding import Finding
from ..core.summary import RunSummary
from ..core.verdict import Outcome
from ..ledger.files import write_private
from ..monitor.job import RunOptions, run_job
from ..render import html
from ..render.visible import visible
from .interpreter import TrainingPython, training_python
from .progress import Bars, jobs_output_to
from .sabotage import BIAS_CORRECTION, EDIT_WEIGHTS
from .shadow import build_shadow, edited_text, shadow_environment
from .victim import victim_path

REPORT = "report.html"
LOG_TAIL = 12


@dataclass(frozen=True, slots=True)
class DemoSize:
    """How much is trained: ``steps`` at first, up to ``resumed`` after the resume; ``flags``: the model."""

    steps: int = 100
    resumed: int = 140
    flags: tuple[str, ...] = (
        *("--n-layer", "2", "--n-head", "4", "--n-embd", "64", "--block-size", "32", "--batch-size", "8"),
        *("--threads", "1", "--workers", "1"),
    )


@dataclass(frozen=True, slots=True)
class Scenario:
    """What to train and what must come out. ``rules``: each one must be among the breaking findings."""

    title: str
    about: str
    options: tuple[str, ...]
    steps: int
    outcome: Outcome
    rules: tuple[str, ...] = ()
    environment: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Caught:
    """A scenario as it came out. ``expected`` is whether it came out as it must."""

    scenario: Scenario
    summary: RunSummary
    report: Path
    expected: bool
    shown: tuple[Finding, ...]


def run_demo(home: Path, quiet: bool, size: DemoSize | None = None) -> int:
    """Run the three scenarios in ``home`` and say what came of them; 0 when all came out as they must.

    Otherwise 1. Raises UsageError when there is no Python with torch, when the sabotage does not fit its
    version, and when the home cannot be used.
    """
    size = size or DemoSize()
    python = training_python()
    with tempfile.TemporaryDirectory(prefix="veracity-demo-") as folder:
        scratch = Path(folder)
        log = scratch / "output.log"
        results = _Demo(home, python, scratch, size).run(log, bars=not quiet and sys.stdout.isatty())
        if not quiet:
            _tell(results, scratch)
        for result in results:
            if not result.expected:
                sys.stderr.write(complaint(result, log))
    return 0 if all(result.expected for result in results) else 1


class _Demo:
    """Builds what each scenario needs, in a folder that is thrown away, and runs it."""

    def __init__(self, home: Path, python: TrainingPython, scratch: Path, size: DemoSize) -> None:
        self._home = home
        self._python = python
        self._scratch = scratch
        self._size = size

    def run(self, log: Path, *, bars: bool) -> list[Caught]:
        """All scenarios in order."""
        results: list[Caught] = []
        makers: tuple[Callable[[], Scenario], ...] = (self._clean, self._shadowed, self._resumed)
        with jobs_output_to(log) as stream, Bars(stream, enabled=bars) as drawn:
            for make in makers:
                results.append(self._train(make(), drawn))
        return results

    def _clean(self) -> Scenario:
        return Scenario("clean", "nothing changed", self._options("clean"), self._size.steps, Outcome.HELD)

    def _shadowed(self) -> Scenario:
        package = self._python.torch
        file, text = edited_text(package, BIAS_CORRECTION)
        root = build_shadow(package, self._scratch / "shadow", {file: text})
        return Scenario(
            f"{Path(file).name} edited",
            f"{BIAS_CORRECTION.about}, in a throw-away copy of torch/{file}",
            self._options("shadowed"),
            self._size.steps,
            Outcome.BROKEN,
            (BIAS_CORRECTION.rule, "code-loaded-elsewhere"),
            shadow_environment(os.environ, root),
        )

    def _resumed(self) -> Scenario:
        """Goes on from the checkpoint that the clean run left, after its weights were scaled."""
        checkpoint = self._scratch / "clean" / f"checkpoint-{self._size.steps:06d}.pt"
        self._python.run(EDIT_WEIGHTS, str(checkpoint), "0.9")
        options = (*self._options("clean", self._size.resumed), "--resume", str(checkpoint))
        return Scenario(
            "checkpoint edited",
            "its weights scaled by 0.9 between save and resume",
            options,
            self._size.resumed - self._size.steps,
            Outcome.BROKEN,
            ("continuity-checkpoint-edited",),
        )

    def _options(self, name: str, steps: int = 0) -> tuple[str, ...]:
        return (
            *self._size.flags,
            *("--steps", str(steps or self._size.steps), "--decay-steps", str(self._size.resumed)),
            *("--save-every", "0", "--eval-every", "0", "--out-dir", str(self._scratch / name)),
        )

    def _train(self, scenario: Scenario, bars: Bars) -> Caught:
        command = [self._python.python, str(victim_path("chargpt")), *scenario.options]
        metrics = Path(scenario.options[scenario.options.index("--out-dir") + 1]) / "metrics.jsonl"
        options = RunOptions(
            home=self._home, name=f"demo: {scenario.title}", quiet=True, environment=scenario.environment
        )
        with bars.steps(scenario.title, scenario.steps, metrics):
            result = run_job(command, options)
        return _judged(scenario, result.summary)


def _judged(scenario: Scenario, summary: RunSummary) -> Caught:
    report = Path(summary.folder) / REPORT
    write_private(report, html.report(summary).encode("utf-8"))
    breaking = tuple(finding for finding in summary.findings if finding.breaks)
    outcome = summary.verdict.outcome if summary.verdict is not None else None
    named = {finding.rule for finding in breaking}
    expected = outcome is scenario.outcome and named.issuperset(scenario.rules)
    wanted = tuple(next((one for one in breaking if one.rule == rule), None) for rule in scenario.rules)
    shown = tuple(finding for finding in wanted if finding is not None) if expected else breaking
    return Caught(scenario, summary, report, expected, shown)


def _tell(results: list[Caught], scratch: Path) -> None:
    table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False)
    for title in ("scenario", "verdict", "step"):
        table.add_column(title, no_wrap=True)
    table.add_column("rule, and where", overflow="fold")
    for result in results:
        verdict = result.summary.verdict
        word = verdict.outcome.value if verdict is not None else "no verdict"
        for number, finding in enumerate(result.shown or (None,)):
            left = (result.scenario.title, word) if number == 0 else ("", "")
            table.add_row(*left, *_columns(finding, scratch))
    Console(file=sys.stdout, highlight=False, markup=False).print(table)
    lines = [f"{one.scenario.title}: {one.scenario.about}\n  {one.report}" for one in results]
    good = all(one.expected for one in results)
    lines.append("The clean run held, both changes were caught." if good else "Not all came out as it must.")
    text = "\n".join(lines)
    sys.stdout.write("\n" + "\n".join(visible(line) for line in text.splitlines()) + "\n")
    sys.stdout.flush()


def _columns(finding: Finding | None, scratch: Path) -> tuple[str, str]:
    """First step; rule and place, relative to the demonstration's own folder, which is gone by then."""
    if finding is None:
        return "-", "-"
    step = "-" if finding.first_step is None else str(finding.first_step)
    if not finding.locations:
        return step, finding.rule
    place = finding.locations[0]
    path = Path(place.path)
    shown = str(path.relative_to(scratch)) if path.is_relative_to(scratch) else place.path
    return step, f"{finding.rule}\n  {visible(f'{shown}:{place.line}' if place.line else shown)}"


def complaint(result: Caught, log: Path) -> str:
    """What was expected of a scenario, what came, and the end of what the jobs printed."""
    scenario, verdict = result.scenario, result.summary.verdict
    lines = [
        f"veracity: {scenario.title}: expected {scenario.outcome.value}"
        + (f" by {', '.join(scenario.rules)}" if scenario.rules else ""),
        *(f"  {reason}" for reason in (verdict.reasons if verdict is not None else ("no verdict",))),
    ]
    printed = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.is_file() else []
    lines += [f"  | {line}" for line in printed[-LOG_TAIL:]]
    return "\n".join(visible(line) for line in lines) + "\n"
