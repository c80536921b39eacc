"""Few modules may start a process; which ones is written down here and nowhere else."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCES = Path(__file__).resolve().parents[2] / "src" / "veracity"

# Module (relative to src/veracity) → what it starts, so that a reader can judge whether that is wanted.
PROCESS_STARTERS: dict[str, str] = {
    "drill/interpreter.py": "a Python, to ask whether it has torch",
    "monitor/launch.py": "the job itself, as the user wrote it",
    "monitor/service/order.py": "our own interpreter, for each run that a service records or shows",
    "monitor/stacks.py": "py-spy's program, to read the stack of a step that is late",
    "observe/git/command.py": "git, with a scrubbed environment, to name the commit and what differs from it",
    "observe/shim.py": "a version manager's script that only we can write, to ask which Python it starts",
    "ledger/verify_evidence.py": "openssl, for a signature; a program of its own that others run",
    "ledger/timestamp.py": "openssl, for timestamps of tree heads, with a scrubbed environment",
    "guard/codecheck.py": "the code checker's child, which reads bytecode that is not what its source gives",
    "scan/gate/remotewalk.py": "a copy of this process, which lists what lies behind a URL",
    "scan/gate/workers.py": "copies of this process, which read files that may be hostile",
    "scan/lineworker.py": "the job's own interpreter, which compiles sources and compares code objects, and "
    "ours, which reads files that may be hostile",
}

# Victims are data: throw-away training scripts, started by a drill as anybody's script is.
NOT_OURS = ("drill/victims/",)

STARTING_MODULES = {"subprocess", "multiprocessing", "pty", "popen2", "_posixsubprocess"}
STARTING_CALLS = {
    "os": {"fork", "forkpty", "system", "popen", "posix_spawn", "posix_spawnp", "startfile"},
    "posix": {"fork", "forkpty", "system", "posix_spawn", "posix_spawnp", "fork_exec"},
    "asyncio": {"create_subprocess_exec", "create_subprocess_shell"},
    "concurrent.futures": {"ProcessPoolExecutor"},
    "concurrent.futures.process": {"ProcessPoolExecutor"},
}
EXEC_PREFIXES = ("exec", "spawn")  # os.execv, os.spawnlp and all their spellings


def starts_in(source: str) -> Iterator[str]:
    """Each way in which this module could start a process, as ``line: name``."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.partition(".")[0] in STARTING_MODULES:
                    yield f"{node.lineno}: {alias.name}"
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            if node.module.partition(".")[0] in STARTING_MODULES:
                yield f"{node.lineno}: {node.module}"
            for alias in node.names:
                if _starts(node.module, alias.name):
                    yield f"{node.lineno}: {node.module}.{alias.name}"
        elif isinstance(node, ast.Attribute) and _starts(ast.unparse(node.value), node.attr):
            yield f"{node.lineno}: {ast.unparse(node)}"
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("__import__", "import_module")):
            for name in node.args[:1]:
                if isinstance(name, ast.Constant) and str(name.value).partition(".")[0] in STARTING_MODULES:
                    yield f"{node.lineno}: {ast.unparse(node)}"


def _starts(module: str, name: str) -> bool:
    if module in ("os", "posix") and name.startswith(EXEC_PREFIXES):
        return True
    return name in STARTING_CALLS.get(module, ())


def test_only_the_pinned_modules_start_processes() -> None:
    found = {}
    for path in sorted(SOURCES.rglob("*.py")):
        name = path.relative_to(SOURCES).as_posix()
        if not name.startswith(NOT_OURS) and (starts := list(starts_in(path.read_text(encoding="utf-8")))):
            found[name] = starts
    unexpected = {name: starts for name, starts in found.items() if name not in PROCESS_STARTERS}
    assert unexpected == {}
    assert sorted(PROCESS_STARTERS) == sorted(found), "pinned, but starts nothing any more"


@pytest.mark.parametrize(
    "source",
    [
        "import subprocess",
        "import subprocess as s",
        "from subprocess import run",
        "def f():\n    import multiprocessing.pool",
        "import os\nos.execv('a', [])",
        "import os\nos.spawnlp(0, 'a')",
        "import os\nos.fork()",
        "from os import system",
        "import os\nstart = os.posix_spawn",
        "import asyncio\nasyncio.create_subprocess_exec('a')",
        "from concurrent.futures import ProcessPoolExecutor",
        "import importlib\nimportlib.import_module('subprocess')",
        "__import__('multiprocessing.pool')",
    ],
)
def test_each_way_to_start_a_process_is_seen(source: str) -> None:
    assert list(starts_in(source))


@pytest.mark.parametrize("source", ["import os\nos.kill(1, 0)", "from .subprocess import x", "x = 'pty'"])
def test_other_code_is_not_taken_for_it(source: str) -> None:
    assert list(starts_in(source)) == []
