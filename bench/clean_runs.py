"""Clean runs must be held: the character GPT guarded, with another seed each time, alone and by torchrun.

    python bench/clean_runs.py [--seeds 20] [--steps 60] [--forms single torchrun]

Each run is a whole ``veracity run`` process. Prints one row per run and a summary with the upper end of the
alarm rate's 95 % Wilson interval. Exit 1 when a run is not held.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

FORMS = {
    "single": [sys.executable],
    "torchrun": [str(Path(sys.executable).parent / "torchrun"), "--nproc-per-node", "2"],
}
Z = 1.959964


def main() -> int:
    """Run all seeds in all forms."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--forms", nargs="+", choices=sorted(FORMS), default=list(FORMS))
    arguments = parser.parse_args()
    shared = Path(tempfile.mkdtemp(prefix="veracity-clean-"))
    failed = 0
    try:
        for form in arguments.forms:
            held = 0
            for seed in range(arguments.seeds):
                row = run(shared, form, seed, arguments.steps)
                held += row["verdict"] == "held"
                print(json.dumps(row), flush=True)
            failed += arguments.seeds - held
            upper = wilson_upper(arguments.seeds - held, arguments.seeds)
            print(f"{form}: {held} of {arguments.seeds} held; alarm rate below {100 * upper:.1f} % (95 %)")
    finally:
        shutil.rmtree(shared, ignore_errors=True)
    return 1 if failed else 0


def run(shared: Path, form: str, seed: int, steps: int) -> dict[str, object]:
    """One guarded run; what came of it."""
    from veracity.drill.victim import victim_path

    folder = Path(tempfile.mkdtemp(dir=shared))
    started = time.monotonic()
    command = [
        *FORMS[form], str(victim_path("chargpt")), "--seed", str(seed), "--steps", str(steps),
        "--threads", "1", "--out-dir", str(folder / "out"),
    ]  # fmt: skip
    veracity = [sys.executable, "-m", "veracity.cli.main", "--home", str(shared / "home")]
    job = subprocess.run(
        [*veracity, "run", "--quiet", "--", *command],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        check=False,
    )
    shown = subprocess.run(
        [*veracity, "show", "latest", "--format", "json"], stdout=subprocess.PIPE, check=False
    )
    document = json.loads(shown.stdout)
    shutil.rmtree(folder, ignore_errors=True)
    return {
        "form": form,
        "seed": seed,
        "exit": job.returncode,
        "verdict": document["verdict"],
        "findings": [f"{one['rule']} ({one['severity']})" for one in document["findings"]],
        "gaps": [one["what"] for one in document["gaps"]],
        "checked": {law: part["checked"] for law, part in document["coverage"].items()},
        "seconds": round(time.monotonic() - started, 1),
    }


def wilson_upper(events: int, trials: int) -> float:
    """Upper end of the 95 % Wilson score interval of a proportion."""
    share = events / trials
    middle = share + Z * Z / (2 * trials)
    spread = Z * math.sqrt(share * (1 - share) / trials + Z * Z / (4 * trials * trials))
    return (middle + spread) / (1 + Z * Z / trials)


if __name__ == "__main__":
    sys.exit(main())
