"""What reading a tree for a seal costs, beside the floor: SHA-256 of the same bytes and nothing else.

    python bench/sealing.py [--rounds 5] [--folder DIR] [--tree PATH ...]

Three trees: eight large files (2 GiB together), 20,000 small ones (241 MB), and those named with
``--tree``, for instance a ``site-packages``. The floor reads the large files with as many threads as ours
does, 1 MiB at a time, and the small ones one after the other in one piece, by a list of names made before.
Both take turns, so the page cache is warm for both; one reading before the first round warms it. Sealing
includes the manifest, written and synced to disk; it is made anew in each round. ``again`` is a reading
compared with that manifest, of which nothing has changed. Times in seconds, as median (min-max) over
rounds. With ``--python`` and ``--wheels`` an environment is sealed and examined, too, and the processor time
of both is told besides, which says more where other work shares the processors.

``--million``: a thousand folders of a thousand files, verified at the level *stat* beside ``find -printf`` of
names, sizes, times, modes and inodes; then sealed again after each change of one file. What had been changed
less than a minute before it was read is read again, so it begins with a minute's wait. ``--cold``, as root:
the page cache, with inodes and names, is dropped before whatever is timed. ``--only-asked`` leaves the first
two trees out.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import random
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeAlias

from veracity.cli.main import main as main_of_veracity
from veracity.observe.interpreter import find_environment
from veracity.observe.tree import read_tree
from veracity.seal.compare import compare
from veracity.seal.nodes import Added, Nodes, NodeWriter

LARGE, LARGE_SIZE = 8, 256 << 20
SMALL, SMALL_SIZE = 20_000, 241_000_000
PIECE = 1 << 20
HEAD = "\n| tree | floor | sealed | ratio | again | ratio | bytes per name |\n|---|---|---|---|---|---|---|"
Timed: TypeAlias = Callable[[Callable[[], object]], float]


def main() -> int:
    """Make the trees, run the rounds, print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where the trees are made (default: a temporary folder)")
    parser.add_argument("--tree", type=Path, nargs="*", default=[], help="further trees to measure")
    parser.add_argument("--python", type=Path, help="an environment to be sealed and examined as a whole")
    parser.add_argument("--wheels", type=Path, help="the archives of that environment")
    parser.add_argument("--million", action="store_true", help="a million files at the level stat")
    parser.add_argument("--cold", action="store_true", help="drop the page cache before whatever is timed")
    parser.add_argument("--only-asked", action="store_true", help="only what the other flags ask for")
    arguments = parser.parse_args()
    load = " ".join(f"{one:.1f}" for one in os.getloadavg())
    print(f"{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}, load {load}")
    timed = cold if arguments.cold else warm
    made = Path(tempfile.mkdtemp(prefix="veracity-bench-seal-", dir=arguments.folder))
    try:
        trees: dict[str, Path] = {}
        if not arguments.only_asked:
            trees["8 large files, 2 GiB"] = large(made / "large")
            trees["20,000 small files, 241 MB"] = small(made / "small")
        trees |= {str(path): path for path in arguments.tree}
        print(HEAD if trees else "")
        for name, path in trees.items():
            measure(name, path, made / "manifest", arguments.rounds, timed)
        if arguments.python is not None:
            examined(arguments.python, arguments.wheels, made / "home", arguments.rounds, timed)
        if arguments.million:
            million(made, arguments.rounds, timed)
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


def measure(name: str, path: Path, manifest: Path, rounds: int, timed: Timed) -> None:
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
    sealed, after = (ratios(taken, what, "floor") for what in ("sealed", "again"))
    cells = [span(taken["floor"]), span(taken["sealed"]), span(sealed), span(taken["again"]), span(after)]
    print(f"| {name} | {' | '.join(cells)} | {manifest.stat().st_size / max(1, names):.0f} |", flush=True)


def examined(python: Path, wheels: Path, home: Path, rounds: int, timed: Timed) -> None:
    """``veracity seal --python`` as a whole: parts sealed, files and bytecode compared, the seal signed.

    The first one reads the archives and compiles every source; those after it find both remembered. Once a
    lock names the archives by their digests, and once the folder of archives alone does, which has all of
    them digested each time.
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
    unlocked = ["--home", str(home), "seal", "--quiet", "--python", str(python), "--wheels", str(wheels)]
    locked = [*unlocked, "--lock", str(lock_of(wheels, home.with_suffix(".txt")))]
    first = timed(lambda: succeed(locked, findings=True))
    floor(files)
    works: dict[str, Callable[[], object]] = {
        "floor": lambda: floor(files),
        "locked": lambda: succeed(locked, findings=True),
        "folder": lambda: succeed(unlocked, findings=True),
    }
    taken: dict[str, list[float]] = {name: [] for name in works}
    own: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            began = time.process_time()
            taken[name].append(timed(work))
            own[name].append(time.process_time() - began)
    size = sum(map(os.path.getsize, files)) / 1e9
    print(f"\n{len(files):,} files, {size:.2f} GB; the first time takes {first:.1f} s\n")
    print("| | floor | with a lock | ratio | without | ratio |\n|---|---|---|---|---|---|")
    for name, found in (("by the clock", taken), ("processor time", own)):
        cells = [span(found["floor"])]
        for ours in ("locked", "folder"):
            cells += [span(found[ours]), span(ratios(found, ours, "floor"))]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def lock_of(wheels: Path, lock: Path) -> Path:
    """A requirements file that names the wheels of a folder by their SHA-256."""
    lines = []
    for wheel in sorted(wheels.glob("*.whl")):
        name, version, *_ = wheel.name.split("-")
        lines.append(f"{name}=={version} --hash=sha256:{digest(str(wheel))}\n")
    lock.write_text("".join(lines), encoding="utf-8")
    return lock


def ratios(taken: dict[str, list[float]], ours: str, least: str) -> list[float]:
    """Of each round."""
    return [one / other for one, other in zip(taken[ours], taken[least], strict=True)]


def million(made: Path, rounds: int, timed: Timed) -> None:
    """``veracity verify --level stat`` beside ``find``; then one file changed and the tree sealed again."""
    tree, home = made / "million", made / "home-million"
    for number in range(1_000):
        folder = tree / f"folder{number:03}"
        folder.mkdir(parents=True)
        for inside in range(1_000):
            (folder / f"sample_{number * 1_000 + inside:06}.bin").write_bytes(b"%d" % inside)
    time.sleep(70)
    command = ["--home", str(home), "seal", "--quiet", f"data={tree}", "--level", "stat"]
    first = timed(lambda: succeed(command))
    find = ["find", str(tree), "-printf", "%p %s %T@ %C@ %m %i\\n"]
    verify = ["--home", str(home), "verify", "--quiet", newest(home).name, "--level", "stat"]
    taken: dict[str, list[float]] = {"find": [], "verify": [], "sealed": []}
    written = []
    for _ in range(rounds):
        taken["find"].append(timed(lambda: subprocess.run(find, stdout=subprocess.DEVNULL, check=True)))
        taken["verify"].append(timed(lambda: succeed(verify)))
    for number in range(rounds):
        (tree / f"folder{number * 7:03}" / f"sample_{number * 7_000 + 500:06}.bin").write_bytes(b"changed")
        before = bytes_written()
        taken["sealed"].append(timed(lambda: succeed(command)))
        written.append(float(bytes_written() - before) / 1e3)
    ratio = ratios(taken, "verify", "find")
    print(
        "\n| a million files: first seal | find | verify | ratio | sealed again | written, kB |\n"
        "|---|---|---|---|---|---|\n"
        f"| {first:.1f} | {span(taken['find'])} | {span(taken['verify'])} | {span(ratio)} | "
        f"{span(taken['sealed'])} | {span(written)} |"
    )


def newest(home: Path) -> Path:
    """The seal that was made last."""
    return max((home / "seals").iterdir())


def bytes_written() -> int:
    """What this process gave to ``write`` so far, to whatever files."""
    fields = dict(line.split(": ") for line in Path("/proc/self/io").read_text("ascii").splitlines())
    return int(fields["wchar"])


def succeed(command: list[str], *, findings: bool = False) -> None:
    """Run a command of ours in this process; ``findings``: it may find something that is so."""
    if main_of_veracity(command) not in ((0, 1) if findings else (0,)):
        raise SystemExit(f"not as it should be: veracity {' '.join(command)}")


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


def cold(work: Callable[[], object]) -> float:
    """Seconds, with nothing in the page cache at first."""
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("3", "ascii")
    return warm(work)


def warm(work: Callable[[], object]) -> float:
    """Seconds."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def span(values: list[float]) -> str:
    """Median and range."""
    return f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})"


if __name__ == "__main__":
    raise SystemExit(main())
