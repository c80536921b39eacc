"""Run the accuracy bench of the laws, a part at a time.

    python -m bench.laws.run --what sabotage --shard 0/2 --minutes 30
    python -m bench.laws.run --what clean --limit 300
    python -m bench.laws.run --what whole --limit 10
    python -m bench.laws.run --what peers --minutes 20
    python -m bench.laws.run --what eight

From the project's root, with the package on the path. ``sabotage``: planted runs, forked where only the
script is changed and as whole processes where torch or the environment is (``--whole``: always);
``clean``: short clean runs, forked from one process, with the real guard and the real monitor; ``whole``:
clean runs as whole processes; ``eight``: the sabotages that others were measured by, in longer runs. Rows
go to ``bench/laws/results/<what>.jsonl``; a case that has a row of this commit is passed over, so that the
same command goes on where it was stopped. ``report.py`` makes the tables.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from .rows import append, commit, done, versions

Run = Callable[[Path], dict[str, object]]


def main() -> int:
    """Run what was asked for until the limit, the minutes or the cases are used up."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--what", choices=("sabotage", "clean", "whole", "peers", "eight"), required=True)
    parser.add_argument("--seed", type=int, default=0, help="draws the cases")
    parser.add_argument("--count", type=int, default=0, help="how many cases there are (0: the usual number)")
    parser.add_argument("--shard", default="0/1", metavar="I/N", help="take every N-th case, from the I-th")
    parser.add_argument("--limit", type=int, default=0, help="stop after so many new rows (0: no limit)")
    parser.add_argument("--minutes", type=float, default=0, help="begin no case after so long (0: no limit)")
    parser.add_argument("--only", default="", help="cases whose name begins so")
    parser.add_argument(
        "--known", nargs="*", default=[], help="pass over cases with a row of these commits too"
    )
    parser.add_argument("--again", action="store_true", help="also those that have a row of this commit")
    parser.add_argument("--whole", action="store_true", help="sabotage: whole processes only, no forks")
    arguments = parser.parse_args()
    shard, of = (int(part) for part in arguments.shard.split("/"))
    measured = commit()
    passed = () if arguments.again else (measured, *arguments.known)
    known = set().union(*(done(arguments.what, one) for one in passed))
    cases = [one for number, one in enumerate(_cases(arguments)) if number % of == shard]
    due = [one for one in cases if one[0] not in known and one[0].startswith(arguments.only)]
    head = {"commit": measured, "seed": arguments.seed, "versions": versions()}
    home = Path(tempfile.mkdtemp(prefix="veracity-bench-"))
    try:
        return _run(due, home, arguments, head)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _run(
    due: list[tuple[str, Run]], home: Path, arguments: argparse.Namespace, head: dict[str, object]
) -> int:
    started, failed = time.monotonic(), 0
    for number, (name, run) in enumerate(due):
        spent = (time.monotonic() - started) / 60
        if (arguments.limit and number >= arguments.limit) or (
            arguments.minutes and spent > arguments.minutes
        ):
            break
        try:
            row = run(home)
        except Exception as error:  # noqa: BLE001 - a case that cannot be run is a row, and the next one is run
            row = {"case": name, "caught": "void", "error": f"{type(error).__name__}: {error}"[:600]}
            failed += 1
        append(arguments.what, {**head, **row})
        word = row.get("caught") or row.get("verdict") or row.get("error")
        print(
            f"{number + 1}/{len(due)} {name}: {word} {row.get('by', '')} {row.get('seconds', '')} s",
            flush=True,
        )
    return 1 if failed else 0


def _cases(arguments: argparse.Namespace) -> Iterable[tuple[str, Run]]:
    if arguments.what == "sabotage":
        return _sabotage(arguments)
    if arguments.what == "peers":
        from .peers import traincheck as peers

        return peers.cases(arguments.seed, arguments.count or 20)
    if arguments.what == "eight":
        return _eight()
    from .clean import cases as clean

    if arguments.what == "whole":
        return clean.whole(arguments.seed, arguments.count or 60)
    return clean.fast(arguments.seed, arguments.count or 450)


def _sabotage(arguments: argparse.Namespace) -> Iterable[tuple[str, Run]]:
    from .fastrun import fork_script, preload
    from .variants import variants
    from .wholerun import run_case

    fork = None if arguments.whole else fork_script
    if fork is not None:
        preload()
    for case in variants(arguments.seed, arguments.count or 220):
        yield case.name, partial(run_case, case, fork=fork)


def _eight() -> Iterable[tuple[str, Run]]:
    from .eight import EIGHT, STEPS
    from .wholerun import run_case

    for case in EIGHT:
        yield case.name, partial(run_case, case, steps=STEPS)


if __name__ == "__main__":
    sys.exit(main())
