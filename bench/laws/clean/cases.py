"""Which clean runs there are: look-alikes and training scripts over seeds, alone and as two ranks."""

from __future__ import annotations

import importlib
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from ..sabotages.sabotage import EVERYWHERE
from ..targets import TARGETS
from ..wholerun import TORCHRUN, Outcome, arguments_for, forget_runs, guarded, read_losses
from . import trainers
from .lookalikes import LOOKALIKES
from .settings import LONGER

STEPS = 60 * LONGER
CHAINED = 6
Run = Callable[[Path], dict[str, object]]


def anew(chain: Sequence[tuple[str, int]]) -> None:
    """Run look-alikes from modules imported in this process, so that the guard sees their code come in."""
    for module in [one for one in sys.modules if one.startswith("bench.laws.clean.")]:
        del sys.modules[module]
    programs = importlib.import_module("bench.laws.clean.lookalikes").LOOKALIKES
    for name, seed in chain:
        try:
            programs[name](seed)
        except SystemExit:
            # One that ends so ends the process only if no other comes after it.
            if (name, seed) == chain[-1]:
                raise


def fast(seed: int, count: int) -> Iterator[tuple[str, Run]]:
    """``count`` rows of runs forked from this process.

    By turns a training script (every fourth time as two ranks), a look-alike alone, and ``CHAINED``
    look-alikes one after another in one guarded process, each of which is a run.
    """
    from ..fastrun import preload

    preload()
    if trainers.MISSING:
        print(f"programs of trainers are left out, {trainers.MISSING}", flush=True)
    names, scripts = list(LOOKALIKES), list(EVERYWHERE)
    turn = 0
    for number in range(count):
        own = seed * 100_000 + number * CHAINED
        if number % 3 == 0:
            target, ranks = scripts[number // 3 % len(scripts)], 2 if number % 12 == 9 else 1
            yield f"{target}/{ranks}/{own}", partial(_script, target, ranks, own)
            continue
        length = 1 if number % 3 == 1 else CHAINED
        chain = [(names[(turn + place) % len(names)], own + place) for place in range(length)]
        turn += length
        yield f"{'+'.join(name for name, _ in chain)}/1/{own}", partial(_programs, chain)


def whole(seed: int, count: int) -> Iterator[tuple[str, Run]]:
    """``count`` whole ``veracity run`` processes over the training scripts; every third one by torchrun."""
    scripts = list(EVERYWHERE)
    for number in range(count):
        own = seed * 100_000 + number
        target, form = scripts[number % len(scripts)], "ddp" if number % 3 == 2 else "single"
        yield f"{target}/{form}/{own}", partial(_whole, target, form, own)


def _programs(chain: Sequence[tuple[str, int]], home: Path) -> dict[str, object]:
    from ..fastrun import forked

    started = time.monotonic()
    outcome = forked(partial(anew, chain), home, name=chain[0][0])
    program = "+".join(name for name, _ in chain)
    return _row(f"{program}/1/{chain[0][1]}", program, outcome, started, home, {"runs": len(chain)})


def _script(target: str, ranks: int, seed: int, home: Path) -> dict[str, object]:
    from ..fastrun import forked, script

    started = time.monotonic()
    with _folder() as folder:
        options = (*arguments_for(TARGETS[target], STEPS, folder), "--seed", str(seed))
        outcome = forked(script(TARGETS[target].script, options), home, ranks=ranks, name=target)
        losses = read_losses(folder / "metrics.jsonl")
    return _row(f"{target}/{ranks}/{seed}", target, outcome, started, home, {"losses": losses})


def _whole(target: str, form: str, seed: int, home: Path) -> dict[str, object]:
    started = time.monotonic()
    with _folder() as folder:
        options = (*arguments_for(TARGETS[target], STEPS, folder), "--seed", str(seed))
        launcher = TORCHRUN if form == "ddp" else ()
        outcome = guarded(
            (sys.executable, *launcher, str(TARGETS[target].script), *options), home, {}, stacks=True
        )
        losses = read_losses(folder / "metrics.jsonl")
    return _row(f"{target}/{form}/{seed}", target, outcome, started, home, {"losses": losses})


@contextmanager
def _folder() -> Iterator[Path]:
    """A temporary folder. Not tempfile's own: a forked child would remove that one as it exits."""
    folder = Path(tempfile.mkdtemp(prefix="veracity-laws-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _row(
    case: str, program: str, outcome: Outcome, started: float, home: Path, more: dict[str, object]
) -> dict[str, object]:
    """A clean run's row. ``false``: the findings that are not notes; ``noted`` counts the notes."""
    forget_runs(home)
    wrong = [one.document() for one in outcome.found if one.severity != "note"]
    return {
        "case": case,
        "program": program,
        "verdict": outcome.verdict,
        "false": wrong,
        "notes": [one.document() for one in outcome.found if one.severity == "note"][:4],
        "exit": outcome.exit,
        "complaint": outcome.complaint if outcome.exit else "",
        "steps": outcome.steps,
        "coverage": {law: list(part[:2]) for law, part in outcome.coverage.items()},
        "reasons": {law: part[2] for law, part in outcome.coverage.items() if part[0] < part[1] and part[2]},
        "gaps": list(outcome.gaps[:3]),
        "why": [] if outcome.verdict == "held" else list(outcome.reasons),
        "seconds": round(time.monotonic() - started, 1),
        **more,
    }
