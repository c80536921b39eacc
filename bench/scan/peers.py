"""Other scanners, each in an environment of its own, and what they say of files.

    python -m bench.scan.peers FOLDER

makes these environments below FOLDER, from a package index.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import venv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

FLAGGED, INCOMPLETE, CLEAN = "flagged", "incomplete", "clean"
# By name, what is installed: extras without which one stops at a 7z, and a dependency that one does not name.
PACKAGES = {
    "picklescan": ("picklescan[7z]",),
    "modelscan": ("modelscan",),
    "fickling": ("fickling", "typing_extensions"),
    "modelaudit": ("modelaudit",),
}
QUIET = {"DO_NOT_TRACK": "1", "PROMPTFOO_DISABLE_TELEMETRY": "1", "NO_COLOR": "1", "PYTHONWARNINGS": "ignore"}
# What its command does with a file; for a folder it stops at the first that it fails at.
_PICKLESCAN = """\
import json, sys
from picklescan.scanner import scan_file_path
for line in sys.stdin:
    path = line.rstrip("\\n")
    try:
        result = scan_file_path(path, strict=STRICT)
        word = "flagged" if result.issues_count else "incomplete" if result.scan_err else "clean"
    except Exception as error:
        word = "incomplete"
    print(json.dumps([path, word]), flush=True)
"""
# The command of fickling reads bare pickles only; these two are what it does with files of a hub, where what
# cannot be parsed and has no name of a pickle is left alone.
_FICKLING = """\
import json, sys, zipfile
from fickling.loader import scan_file, scan_zip_archive
KNOWN = (".bin", ".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".joblib")
for line in sys.stdin:
    path = line.rstrip("\\n")
    try:
        if zipfile.is_zipfile(path):
            results = list(scan_zip_archive(path, graceful=True).values())
        else:
            results = [scan_file(path, graceful=True)]
        word = "clean"
        if any(one.errors for one in results):
            word = "incomplete" if path.endswith(KNOWN) else "clean"
        elif not all(one.is_safe for one in results):
            word = "flagged"
    except Exception as error:
        word = "incomplete" if path.endswith(KNOWN) else "clean"
    print(json.dumps([path, word]), flush=True)
"""


@dataclass(frozen=True, slots=True)
class Peer:
    """A scanner. ``judge(folder, files)`` tells the worst word for each file of ``folder`` it has one for."""

    name: str
    version: str
    judge: Callable[[Path, Sequence[Path]], Mapping[str, str]]
    command: Callable[[Path], list[str]]


def peers(place: Path) -> list[Peer]:
    """Those that are installed below ``place``."""
    found = []
    for name, (judge, command) in _KINDS.items():
        environment = place / name.split("-")[0]
        if (environment / "bin" / "python").exists():
            found.append(_peer(name, environment, judge, command))
    return found


_Judge = Callable[[Path, Path, Sequence[Path]], Mapping[str, str]]
_Command = Callable[[Path, Path], list[str]]


def _peer(name: str, environment: Path, judge: _Judge, command: _Command) -> Peer:
    def judged(folder: Path, files: Sequence[Path]) -> Mapping[str, str]:
        return judge(environment, folder, files)

    def commanded(path: Path) -> list[str]:
        return command(environment, path)

    return Peer(name, _version(environment, name.split("-")[0]), judged, commanded)


def _version(environment: Path, name: str) -> str:
    program = f"import importlib.metadata as m; print(m.version({name!r}))"
    done = subprocess.run(
        [environment / "bin" / "python", "-c", program], capture_output=True, text=True, check=False
    )
    return done.stdout.strip()


def _run(command: Sequence[str], given: str = "") -> subprocess.CompletedProcess[str]:
    around = {**os.environ, **QUIET}
    return subprocess.run(
        command, capture_output=True, text=True, errors="replace", input=given, env=around, check=False
    )


def _picklescan(environment: Path, path: Path) -> list[str]:
    return [str(environment / "bin" / "picklescan"), "-p", str(path)]


def _picklescan_strict(environment: Path, path: Path) -> list[str]:
    return [*_picklescan(environment, path), "--strict"]


def _modelscan(environment: Path, path: Path) -> list[str]:
    return [str(environment / "bin" / "modelscan"), "-r", "json", "-p", str(path)]


def _fickling(environment: Path, path: Path) -> list[str]:
    return [str(environment / "bin" / "fickling"), "--check-safety", "--json-output", os.devnull, str(path)]


def _modelaudit(environment: Path, path: Path) -> list[str]:
    return [str(environment / "bin" / "modelaudit"), "scan", "--no-cache", "--format", "json", str(path)]


def _by_picklescan(environment: Path, folder: Path, files: Sequence[Path]) -> Mapping[str, str]:
    return _each(environment, _PICKLESCAN.replace("STRICT", "False"), files)


def _by_strict(environment: Path, folder: Path, files: Sequence[Path]) -> Mapping[str, str]:
    return _each(environment, _PICKLESCAN.replace("STRICT", "True"), files)


def _each(environment: Path, program: str, files: Sequence[Path]) -> Mapping[str, str]:
    """What a program says that is given names of files and answers with a name and a word for each."""
    done = _run([str(environment / "bin" / "python"), "-c", program], "".join(f"{path}\n" for path in files))
    return dict(json.loads(line) for line in done.stdout.splitlines() if line.startswith('["'))


def _by_modelscan(environment: Path, folder: Path, files: Sequence[Path]) -> Mapping[str, str]:
    with tempfile.TemporaryDirectory() as scratch:
        answer = Path(scratch) / "answer.json"
        _run([*_modelscan(environment, folder), "-o", str(answer)])
        told = json.loads(answer.read_text(encoding="utf-8"))
    words = {}
    for key, word in (("errors", INCOMPLETE), ("issues", FLAGGED)):
        for one in told[key]:
            source = str(one.get("source", "")).split(":")[0]
            words[str(folder / source)] = word
    return words


def _by_fickling(environment: Path, folder: Path, files: Sequence[Path]) -> Mapping[str, str]:
    return _each(environment, _FICKLING, files)


def _by_modelaudit(environment: Path, folder: Path, files: Sequence[Path]) -> Mapping[str, str]:
    with tempfile.TemporaryDirectory() as scratch:
        answer = Path(scratch) / "answer.json"
        _run([*_modelaudit(environment, folder), "-o", str(answer)])
        told = json.loads(answer.read_text(encoding="utf-8"))
    words: dict[str, str] = {}
    by_length = sorted(map(str, files), key=len, reverse=True)
    for one in told.get("issues", []):
        location, severity = str(one.get("location") or ""), one.get("severity")
        path = next((path for path in by_length if location.startswith(path)), "")
        if path and severity in ("warning", "critical", "error"):
            words[path] = FLAGGED
    return words


_KINDS: dict[str, tuple[_Judge, _Command]] = {
    "picklescan": (_by_picklescan, _picklescan),
    "picklescan-strict": (_by_strict, _picklescan_strict),
    "modelscan": (_by_modelscan, _modelscan),
    "fickling": (_by_fickling, _fickling),
    "modelaudit": (_by_modelaudit, _modelaudit),
}


def main() -> int:
    """Install the peers."""
    place = Path(sys.argv[1])
    for name, packages in PACKAGES.items():
        venv.create(place / name, with_pip=True)
        subprocess.run(
            [place / name / "bin" / "python", "-m", "pip", "install", "--quiet", *packages], check=True
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
