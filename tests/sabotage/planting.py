"""Marked sabotage on throw-away copies, and the guarded runs that must find it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import veracity
from veracity.core.finding import Finding
from veracity.core.rule import Severity
from veracity.core.summary import RunSummary
from veracity.core.verdict import Outcome
from veracity.drill.interpreter import find_torch
from veracity.drill.sabotage import MARK, Edit
from veracity.drill.shadow import build_shadow, shadow_environment
from veracity.drill.victim import victim_path
from veracity.monitor.summary import load_summary

# 19,488 parameters in 17 tensors: nearly all of them are sampled in every step
CHARGPT = """
    --n-layer=1 --n-head=2 --n-embd=32 --block-size=16 --batch-size=8 --max-chars=20000
    --eval-every=0 --save-every=0 --threads=1 --workers=0
"""
DIGITS = "--channels=4 --batch-size=128 --lr-epochs=1 --threads=1 --workers=0 --eval-every=0"
TINY, TINY_DIGITS = CHARGPT.split(), DIGITS.split()
# The monitor finds its own package without the job's environment changing for it.
ENTER = (
    f"import sys; sys.path.insert(0, {str(Path(veracity.__file__).parents[1])!r}); "
    "from veracity.cli.main import main; sys.exit(main())"
)


def train(
    home: Path,
    script: Path,
    options: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    python: str | Path = sys.executable,
    launcher: Sequence[str] = (),
    stacks: bool = False,
    overhead: float = 0.01,
    hang_after: float = 120.0,
    references: Sequence[Path] = (),
) -> RunSummary:
    """Run a training script with ``veracity run`` and read its record; the exit code must be in it.

    The command has a process of its own: it takes over signals, orphans and its scheduling class.
    """
    told = home / f"{script.parent.name}-{time.monotonic_ns()}.json"
    home.mkdir(exist_ok=True)
    words = ["--home", str(home), "--output", str(told), "--format", "json", "run"]
    words += ["--overhead", f"{100 * overhead:g}%", "--hang-after", f"{hang_after:g}"]
    words += [] if stacks else ["--no-stacks"]
    words += [word for path in references for word in ("--optimizer-reference", str(path))]
    command = [sys.executable, "-c", ENTER, *words, "--", str(python), *launcher, str(script), *options]
    with tempfile.TemporaryFile() as output:
        done = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False
        )
        output.seek(0)
        print(output.read().decode(errors="replace"))  # pytest shows it when the test fails
    assert told.exists(), f"veracity run ended with {done.returncode} and no verdict"
    summary = load_summary(home / "runs" / json.loads(told.read_text(encoding="utf-8"))["run"])
    assert done.returncode == summary.exit_code
    return summary


def planted_script(folder: Path, *changes: tuple[str, str], victim: str = "chargpt") -> Path:
    """A copy of a victim with ``(text, text in its place)`` exchanged, each of them marked."""
    text = victim_path(victim).read_text(encoding="utf-8")
    for old, new in changes:
        text = Edit("train.py", old, new).apply(text)
    script = folder / "train.py"
    script.write_text(text, encoding="utf-8")
    return script


def shadowed(folder: Path, *edits: Edit) -> dict[str, str]:
    """The environment of a job whose torch is a shadow with ``edits``."""
    package = find_torch(sys.executable)
    assert package is not None
    texts: dict[str, str] = {}
    for edit in edits:
        text = texts.get(edit.file) or (package / edit.file).read_text(encoding="utf-8")
        texts[edit.file] = edit.apply(text)
    return shadow_environment(os.environ, build_shadow(package, folder / "shadow", texts))


def before_step(condition: str, *lines: str) -> tuple[str, str]:
    """Lines put before ``optimizer.step()`` in the victim's ``train_step``; ``n`` is the step, from 0."""
    old = "    training.optimizer.step()\n"
    body = "".join(f"        {line}\n" for line in lines)
    return old, f"    n = training.step  {MARK}\n    if {condition}:\n{body}{old}"


def at_start_of_step(condition: str, *lines: str) -> tuple[str, str]:
    """Lines put first in the victim's ``train_step``."""
    old = "    tokens, targets = batch\n"
    body = "".join(f"        {line}\n" for line in lines)
    return old, f"    n = training.step  {MARK}\n    if {condition}:\n{body}{old}"


def breaking(summary: RunSummary) -> dict[str, Finding]:
    """The findings that break the run, by rule; the first of each."""
    found: dict[str, Finding] = {}
    for finding in summary.findings:
        if finding.breaks:
            found.setdefault(finding.rule, finding)
    return found


def caught(summary: RunSummary, rule: str) -> Finding:
    """The breaking finding of ``rule`` in a run that must be broken."""
    assert summary.verdict is not None
    found = breaking(summary)
    assert rule in found, (summary.verdict, sorted(found), summary.gaps)
    assert summary.verdict.outcome is Outcome.BROKEN
    return found[rule]


def held(summary: RunSummary) -> None:
    """A run that must have held, with nothing that even looks like a break."""
    assert summary.verdict is not None
    assert breaking(summary) == {}
    assert summary.verdict.outcome is Outcome.HELD, (summary.verdict, summary.gaps)
    assert summary.exit_code == 0


def warned(summary: RunSummary) -> list[Finding]:
    """The warnings of a run that held, apart from those about time, which depend on the machine."""
    held(summary)
    return [
        one
        for one in summary.findings
        if one.severity is Severity.WARNING and not one.rule.startswith("time-")
    ]
