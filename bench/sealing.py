"""What reading a tree for a seal costs, beside the floor: SHA-256 of the same bytes and nothing else.

    python bench/sealing.py [--rounds 5] [--folder DIR] [--tree PATH ...]

Three trees: eight large files (2 GiB together), 20,000 small ones (241 MB), and those named with
``--tree``, for instance a ``site-packages``. The floor reads the large files with as many threads as ours
does, 1 MiB at a time, and the small ones one after the other in one piece, by a list of names made before.
Both take turns, so the page cache is warm for both; one reading before the first round warms it. Sealing
includes the manifest, written and synced to disk; it is made anew in each round. ``again`` is a reading
compared with that manifest, of which nothing has changed. Times in seconds, as median (min-max) over
rounds. With ``--python`` and ``--wheels`` an environment is sealed and examined, too.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from veracity.cli.main import main as main_of_veracity
from veracity.observe.interpreter import find_environment
from veracity.observe.tree import read_tree
from veracity.seal.compare import compare
from veracity.seal.nodes import Added, Nodes, NodeWriter

LARGE, LARGE_SIZE = 8, 256 << 20
SMALL, SMALL_SIZE = 20_000, 241_000_000
PIECE = 1 << 20


def main() -> int:
    """Make the trees, run the rounds, print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where the trees are made (default: a temporary folder)")
    parser.add_argument("--tree", type=Path, nargs="*", default=[], help="further trees to measure")
    parser.add_argument("--python", type=Path, help="an environment to be sealed and examined as a whole")
    parser.add_argument("--wheels", type=Path, help="the archives that it was installed from")
    arguments = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}")
    print(
        "\n| tree | floor | sealed | ratio | again | ratio | bytes per name |\n|---|---|---|---|---|---|---|"
    )
    made = Path(tempfile.mkdtemp(prefix="veracity-bench-seal-", dir=arguments.folder))
    try:
        trees = {
            "8 large files, 2 GiB": large(made / "large"),
            "20,000 small files, 241 MB": small(made / "small"),
        }
        trees |= {str(path): path for path in arguments.tree}
        for name, path in trees.items():
            measure(name, path, made / "manifest", arguments.rounds)
        if arguments.python is not None:
            examined(arguments.python, arguments.wheels, made / "home", arguments.rounds)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return 0


def large(folder: Path) -> Path:
    """Files that are read by threads."""
    folder.mkdir()
    draw = random.Random(1)
    for number in range(LARGE):
        with (folder / f"shard-{number}.bin").open("wb") as file:
            for _ in range(LARGE_SIZE // PIECE):
                file.write(draw.randbytes(PIECE))
    return folder


def small(folder: Path) -> Path:
    """A tree like that of an environment: folders of some dozens of files, most of them small."""
    draw = random.Random(2)
    sizes = [draw.lognormvariate(0, 1.5) for _ in range(SMALL)]
    scale = SMALL_SIZE / sum(sizes)
    for number, size in enumerate(sizes):
        place = folder / f"package{number % 40}" / f"part{number // 40 % 10}"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"module_{number}.py").write_bytes(draw.randbytes(int(size * scale)))
    return folder


def measure(name: str, path: Path, manifest: Path, rounds: int) -> None:
    """One row of the table."""
    files = [
        os.path.join(folder, one)
        for folder, _, names in os.walk(path)
        for one in names
        if not os.path.islink(os.path.join(folder, one))
    ]
    floor(files)
    taken: dict[str, list[float]] = {"floor": [], "sealed": [], "again": []}
    names = 0
    for _ in range(rounds):
        manifest.unlink(missing_ok=True)
        taken["floor"].append(timed(lambda: floor(files)))
        taken["sealed"].append(timed(lambda: seal(path, manifest)))
        names = read_tree(path, lambda digest, data: None).root.size
        taken["again"].append(timed(lambda: again(path, manifest)))
    sealed, after = (
        [ours / least for ours, least in zip(taken[what], taken["floor"], strict=True)]
        for what in ("sealed", "again")
    )
    cells = [span(taken["floor"]), span(taken["sealed"]), span(sealed), span(taken["again"]), span(after)]
    print(f"| {name} | {' | '.join(cells)} | {manifest.stat().st_size / max(1, names):.0f} |", flush=True)


def examined(python: Path, wheels: Path, home: Path, rounds: int) -> None:
    """``veracity seal --python`` as a whole: parts sealed, files and bytecode compared, the seal signed.

    The first one reads the archives and compiles every source; those after it find both remembered.
    """
    environment = find_environment(python, {})
    parts = [environment.stdlib, *environment.sites, str(Path(environment.prefix, "bin"))]
    files = []
    for part in parts:
        for folder, names, inside in os.walk(part):
            if folder == environment.stdlib:
                names[:] = [one for one in names if one not in ("site-packages", "dist-packages")]
            files += [os.path.join(folder, one) for one in inside]
    files = [path for path in files if not os.path.islink(path)]
    command = ["--home", str(home), "seal", "--quiet", "--python", str(python), "--wheels", str(wheels)]
    first = timed(lambda: succeed(command))
    floor(files)
    taken: dict[str, list[float]] = {"floor": [], "ours": []}
    for _ in range(rounds):
        taken["floor"].append(timed(lambda: floor(files)))
        taken["ours"].append(timed(lambda: succeed(command)))
    ratio = [ours / least for ours, least in zip(taken["ours"], taken["floor"], strict=True)]
    print(
        f"\n| {len(files):,} files examined, first | floor | then | ratio |\n|---|---|---|---|\n"
        f"| {first:.1f} | {span(taken['floor'])} | {span(taken['ours'])} | {span(ratio)} |"
    )


def succeed(command: list[str]) -> None:
    """Run a command of ours in this process; nothing may be found."""
    if main_of_veracity(command) != 0:
        raise SystemExit("the environment is not as its archives say")


def floor(files: list[str]) -> None:
    """SHA-256 of each file: large ones by threads."""
    big = [path for path in files if os.path.getsize(path) > PIECE]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        waiting = pool.map(digest, big)
        for path in files:
            if os.path.getsize(path) <= PIECE:
                with open(path, "rb", buffering=0) as file:
                    hashlib.sha256(file.read()).hexdigest()
        list(waiting)


def digest(path: str) -> str:
    """SHA-256 of a large file."""
    sha, buffer = hashlib.sha256(), bytearray(PIECE)
    with open(path, "rb", buffering=0) as file:
        while count := file.readinto(buffer):
            sha.update(memoryview(buffer)[:count])
    return sha.hexdigest()


def seal(path: Path, manifest: Path) -> None:
    """Read a tree into a new manifest."""
    writer = NodeWriter.at(manifest)
    read_tree(path, writer.keep)
    writer.close()


def again(path: Path, manifest: Path) -> None:
    """Read a tree again and compare it with its manifest."""
    with Nodes(manifest) as nodes:
        now = Added(nodes)
        root = read_tree(path, now.keep).root
        if list(compare(root, nodes, root, now)):
            raise SystemExit("the tree changed")


def timed(work: Callable[[], object]) -> float:
    """Seconds."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def span(values: list[float]) -> str:
    """Median and range."""
    return f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})"


if __name__ == "__main__":
    raise SystemExit(main())
