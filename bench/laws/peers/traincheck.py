"""TrainCheck (OSDI 2025) on the same cases: invariants from a clean run of a script, checked on planted runs.

It stands in an environment of its own; the variable ``TRAINCHECK_BIN`` names its ``bin`` folder. It rewrites
scripts, so that the line that imports ``annotations`` from ``__future__`` has to go first, and runs it
without options, so that the copy's defaults are set to those of the short run. Twelve steps: it is slow.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from ..plant import plant
from ..planting import Target, read_truth
from ..rows import commit, rows
from ..sabotages import BY_NAME
from ..targets import TARGETS
from ..variants import Case, variants

VARIABLE = "TRAINCHECK_BIN"
STEPS, START = 12, 6
SECONDS = 900.0
LEARNED = ("reader",)
FIXED_SEED = 1337


def cases(seed: int, count: int) -> Iterator[tuple[str, partial[dict[str, object]]]]:
    """Two further clean runs for each script that is learned, then ``count`` sabotaged runs of them."""
    for target in LEARNED:
        for own in (FIXED_SEED, FIXED_SEED + 1):
            yield f"clean/{target}/{own}", partial(_clean, target, own)
    ours = {
        str(row["case"]): str(row.get("caught")) for row in rows("sabotage") if row.get("commit") == commit()
    }
    fit = [case for case in variants(seed, 400) if _fits(case)]
    for case in fit[:count]:
        yield case.name, partial(_sabotaged, case, ours.get(case.name, ""))


def _fits(case: Case) -> bool:
    """Alone, in a script that is learned, and by lines of the script that act before it ends."""
    sabotage = BY_NAME[case.sabotage]
    plain = bool(sabotage.lines) and not sabotage.torch and not sabotage.resumes and sabotage.steps <= 60
    return (
        plain and case.form == "single" and case.target in LEARNED and sabotage.family not in ("life", "time")
    )


def _clean(target: str, seed: int, home: Path) -> dict[str, object]:
    started = time.monotonic()
    script = TARGETS[target].script.read_text(encoding="utf-8")
    violated = _violations(TARGETS[target], _prepared(script, seed), home)
    return {
        "case": f"clean/{target}/{seed}", "clean": True, "alarmed": violated > 0, "violated": violated,
        "seconds": round(time.monotonic() - started, 1),
    }  # fmt: skip


def _sabotaged(case: Case, ours: str, home: Path) -> dict[str, object]:
    started = time.monotonic()
    target = TARGETS[case.target]
    early = replace(case.trigger, start=START if BY_NAME[case.sabotage].start else 0)
    folder = Path(tempfile.mkdtemp(prefix="veracity-laws-"))
    try:
        planted = plant(BY_NAME[case.sabotage], target, early, case.strength, folder)
        violated = _violations(target, _prepared(planted.script.read_text(), FIXED_SEED), home)
        acted = bool(read_truth(planted.truth))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return {
        "case": case.name, "clean": False, "acted": acted, "alarmed": acted and violated > 0,
        "violated": violated, "ours": ours, "seconds": round(time.monotonic() - started, 1),
    }  # fmt: skip


def _prepared(script: str, seed: int) -> str:
    text = script.replace("from __future__ import annotations\n", "")
    text = re.sub(r'("--steps", type=int, default=)\d+', rf"\g<1>{STEPS}", text)
    return re.sub(r'("--seed", type=int, default=)\d+', rf"\g<1>{seed}", text)


def _violations(target: Target, script: str, home: Path) -> int:
    """How many invariants of the target a run of ``script`` violates."""
    invariants = home / f"{target.name}.json"
    if not invariants.exists():
        _learn(target, home, invariants)
    with tempfile.TemporaryDirectory(prefix="veracity-laws-") as name:
        folder = Path(name)
        _collect(target, script, folder)
        results = folder / "checked"
        words = ("-f", "trace", "-i", str(invariants), "-o", str(results), "--no-html-report")
        _call("traincheck-check", *words, folder=folder)
        failed = sorted(results.rglob("failed*.json")) + sorted(results.rglob("failed*.log"))
        return sum(_count(path.read_text(errors="replace")) for path in failed)


def _learn(target: Target, home: Path, invariants: Path) -> None:
    folder = home / f"learn-{target.name}"
    folder.mkdir()
    _collect(target, _prepared(target.script.read_text(encoding="utf-8"), FIXED_SEED), folder)
    _call("traincheck-infer", "-f", "trace", "-o", str(invariants), folder=folder)


def _collect(target: Target, script: str, folder: Path) -> None:
    (folder / target.script.name).write_text(script, encoding="utf-8")
    _call("traincheck-collect", "-p", target.script.name, "--models-to-track", "raw", "--output-dir", "trace",
          folder=folder)  # fmt: skip


def _call(program: str, *words: str, folder: Path) -> None:
    found = os.environ.get(VARIABLE, "")
    if not found:
        raise RuntimeError(f"set {VARIABLE} to the bin folder of an environment with traincheck and torch")
    environment = dict(
        os.environ, PATH=f"{found}{os.pathsep}{os.environ.get('PATH', '')}", OMP_NUM_THREADS="1"
    )
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(
        [str(Path(found) / program), *words],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=SECONDS,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{program} ended with {done.returncode}: {done.stdout[-400:]}")


def _count(text: str) -> int:
    """Records in a file of JSON objects, in a list or one after another."""
    position, found, decoder = 0, 0, json.JSONDecoder()
    while position < len(text):
        try:
            value, position = decoder.raw_decode(text, position)
        except ValueError:
            break
        found += len(value) if isinstance(value, list) else 1
        position += len(text[position:]) - len(text[position:].lstrip())
    return found
