"""One case as a user would run it: whole ``veracity run`` processes, and what came of them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from veracity.ledger.entry import Entry
from veracity.ledger.reader import Reader

from .plant import plant
from .planting import Target, read_truth
from .sabotages import BY_NAME, Sabotage
from .targets import CHARGPT, TARGETS
from .variants import Case

Fork = Callable[[Path, Sequence[str], str, Path, Mapping[str, str], bool], "Outcome"]
"""Runs a script: its path, its options, the form, the home, the environment, whether stacks are looked at."""
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
SECONDS = 420.0
SAVED_AT = 20


@dataclass(frozen=True, slots=True)
class Found:
    """A finding, and the step that had been recorded last when it was made: when it could be told."""

    rule: str
    severity: str
    breaks: bool
    first_step: int | None
    rank: int
    told: int
    subject: str

    def document(self) -> dict[str, object]:
        """As it is written to the results."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one guarded run. ``steps`` is the number of step records."""

    verdict: str
    exit: int
    found: tuple[Found, ...]
    coverage: Mapping[str, tuple[int, int, str]]
    gaps: tuple[str, ...]
    steps: int
    reasons: tuple[str, ...]
    complaint: str


def run_case(case: Case, home: Path, fork: Fork | None = None, *, steps: int = 0) -> dict[str, object]:
    """Plant, run, compare with what really happened. The row for the results, without commit and seed.

    ``steps``: how long the run is, if not as long as its sabotage says; one that resumes keeps to that.
    ``fork`` runs a script in a fork of this process (see ``fastrun``); it is used where nothing has to be
    changed before the interpreter starts.
    """
    sabotage, target = BY_NAME[case.sabotage], TARGETS[case.target]
    if steps and not sabotage.resumes:
        sabotage = replace(sabotage, steps=steps)
    # How a rank ended is told by a launcher that is its parent, which a fork has none of.
    ends = sabotage.family == "life" and case.form == "ddp"
    forks = fork is not None and not sabotage.torch and not sabotage.site and not ends
    run = fork if fork is not None and forks else _whole
    started = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="veracity-laws-"))
    try:
        planted = plant(sabotage, target, case.trigger, case.strength, folder)
        more = _first_part(case, sabotage, target, folder, home, run) if sabotage.resumes else ()
        if sabotage.between:
            planted.truth.write_text("0 0\n")
        options = (*arguments_for(target, sabotage.steps, folder / "out"), *more)
        outcome = run(planted.script, options, case.form, home, planted.environment, sabotage.stacks)
        truth = read_truth(planted.truth)
        losses = read_losses(folder / "out" / "metrics.jsonl")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        forget_runs(home)
    row: dict[str, object] = {"case": case.name, "family": sabotage.family, **case.document()}
    row["how"] = "fork" if forks else "whole"
    row.update(score(sabotage, outcome, truth))
    row.update(_told_of(outcome), truth=_abridged(truth), losses=losses)
    row["seconds"] = round(time.monotonic() - started, 1)
    return row


def _first_part(
    case: Case, sabotage: Sabotage, target: Target, folder: Path, home: Path, run: Fork
) -> tuple[str, ...]:
    """Train the clean script up to a checkpoint, edit that if asked to; the options that go on from it."""
    options = arguments_for(target, SAVED_AT, folder / "out", until=sabotage.steps)
    outcome = run(target.script, options, case.form, home, {}, False)
    checkpoint = folder / "out" / f"checkpoint-{SAVED_AT:06d}.pt"
    if outcome.exit != 0 or not checkpoint.exists():
        raise RuntimeError(f"the first part of {case.name} failed: {outcome.complaint}")
    if sabotage.between:
        command = [sys.executable, "-c", sabotage.between, str(checkpoint), str(case.strength)]
        subprocess.run(command, check=True, timeout=SECONDS)
    return ("--resume", str(checkpoint))


def arguments_for(target: Target, steps: int, out: Path, *, until: int = 0) -> tuple[str, ...]:
    """The options of a run of ``steps`` steps; ``until`` is where its schedule ends."""
    options = (*target.options, "--steps", str(steps), "--out-dir", str(out))
    if target.script == CHARGPT.script:
        options += ("--decay-steps", str(until or steps))
    return options


def _whole(
    script: Path, options: Sequence[str], form: str, home: Path, environment: Mapping[str, str], stacks: bool
) -> Outcome:
    return guarded((*_launcher(form), str(script), *options), home, environment, stacks=stacks)


def _launcher(form: str) -> tuple[str, ...]:
    return (sys.executable, *(TORCHRUN if form == "ddp" else ()))


def guarded(
    command: Sequence[str], home: Path, environment: Mapping[str, str], *, stacks: bool = False
) -> Outcome:
    """``command`` under ``veracity run``, in processes of their own."""
    report = home / "report.json"
    report.unlink(missing_ok=True)
    veracity = [sys.executable, "-m", "veracity.cli.main", "run", "--home", str(home), "--format", "json"]
    veracity += ["--output", str(report), "--quiet", *(() if stacks else ("--no-stacks",)), "--"]
    done = subprocess.run(
        [*veracity, *command],
        env=dict(environment) or None,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        timeout=SECONDS,
        check=False,
    )
    if not report.exists():
        raise RuntimeError(f"veracity run wrote no report: {done.stderr[-600:]}")
    return read_outcome(json.loads(report.read_text()), done.returncode, done.stderr)


def read_outcome(document: Mapping[str, object], code: int, complaint: str = "") -> Outcome:
    """The outcome of a run from its JSON document and its ledger."""
    folder = Path(str(document["folder"]))
    found, steps = findings_of(folder)
    coverage = document["coverage"]
    gaps, reasons = document["gaps"], document["reasons"]
    assert isinstance(coverage, dict)
    assert isinstance(gaps, list)
    assert isinstance(reasons, list)
    return Outcome(
        verdict=str(document["verdict"]),
        exit=code,
        found=found,
        coverage={
            law: (part["checked"], part["possible"], "; ".join(list(part["reasons"])[:2])[:160])
            for law, part in coverage.items()
        },
        gaps=tuple(f"{gap['what']}: {gap['reason']}"[:200] for gap in gaps),
        steps=steps,
        reasons=tuple(str(reason)[:200] for reason in reasons[:4]),
        complaint=complaint[-300:],
    )


def findings_of(folder: Path) -> tuple[tuple[Found, ...], int]:
    """The findings in a run's ledger, with the last step recorded before each, and the number of steps."""
    found: list[Found] = []
    last, steps = -1, 0
    with Reader(folder / "ledger") as reader:
        for data in reader.entries():
            entry = Entry.decode(data)
            if entry.kind == "record" and entry.body.get("kind") == "step":
                steps += 1
                step = entry.body.get("step")
                last = max(last, step) if isinstance(step, int) else last
            elif entry.kind == "finding":
                one = entry.body.get("finding")
                if isinstance(one, dict):
                    found.append(_found(one, last))
    return tuple(found), steps


def forget_runs(home: Path) -> None:
    """Remove the recorded runs of a home; what it knows of installed code stays."""
    shutil.rmtree(home / "runs", ignore_errors=True)


def _found(one: Mapping[str, object], last: int) -> Found:
    first, rank = one.get("first_step"), one.get("rank")
    severity = str(one.get("severity"))
    return Found(
        rule=str(one.get("rule")),
        severity=severity,
        breaks=severity == "error" and one.get("confidence") == "high",
        first_step=first if isinstance(first, int) else None,
        rank=rank if isinstance(rank, int) else -1,
        told=last,
        subject=str(one.get("subject"))[:80],
    )


def score(sabotage: Sabotage, outcome: Outcome, truth: Mapping[int, Sequence[int]]) -> dict[str, object]:
    """Whether it was caught, by whom, and how long after the first step it affected.

    ``caught``: ``law``, ``also`` (only the way it was done was found), ``other`` (only by rules nobody
    expected), ``missed``, or ``void`` when it never acted. ``early`` lists findings before the first
    affected step: those are false.
    """
    steps = [step for found in truth.values() for step in found]
    if not steps:
        return {"caught": "void", "by": [], "delay": None, "told_delay": None, "early": []}
    first = min(steps)
    slack = 1 if sabotage.family in ("life", "time") else 0
    serious = [one for one in outcome.found if one.severity != "note" or sabotage.noted]
    early = [one for one in serious if one.first_step is not None and one.first_step < first - slack]
    valid = [one for one in serious if one not in early]
    by_law = [one for one in valid if sabotage.expects(one.rule)]
    also = [one for one in valid if sabotage.expects_also(one.rule)]
    caught = "law" if by_law else "also" if also else "other" if valid else "missed"
    best = min(by_law, key=lambda one: first if one.first_step is None else one.first_step, default=None)
    delay = None if best is None or best.first_step is None else max(0, best.first_step - first)
    told = None if not by_law else max(0, min(one.told for one in by_law) - first)
    return {
        "caught": caught,
        "by": sorted({one.rule for one in valid}),
        "broke": any(one.breaks for one in by_law),
        "delay": delay,
        "told_delay": told,
        "early": [one.document() for one in early if not sabotage.expects_also(one.rule)],
    }


def _told_of(outcome: Outcome) -> dict[str, object]:
    return {
        "verdict": outcome.verdict,
        "exit": outcome.exit,
        "steps_recorded": outcome.steps,
        "findings": [one.document() for one in outcome.found[:12]],
        "coverage": {law: list(part[:2]) for law, part in outcome.coverage.items()},
        "reasons": {law: part[2] for law, part in outcome.coverage.items() if part[0] < part[1] and part[2]},
        "gaps": list(outcome.gaps[:4]),
        "why": list(outcome.reasons),
        "complaint": outcome.complaint if outcome.exit not in (0, 1) else "",
    }


def _abridged(truth: Mapping[int, Sequence[int]]) -> dict[str, dict[str, int]]:
    return {
        str(rank): {"first": steps[0], "last": steps[-1], "count": len(steps)}
        for rank, steps in truth.items()
    }


def read_losses(path: Path) -> list[float]:
    """The losses a run logged, for detectors that look at nothing else."""
    if not path.exists():
        return []
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return [round(row["loss"], 6) for row in rows if isinstance(row.get("loss"), float)]
