"""Why a process of the job has no guard, as far as ``/proc`` tells, and what to do about it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from . import process

_PYTHON = re.compile(r"(python|pypy)[0-9.]*t?d?\Z")
_WITH_VALUE = frozenset("cmWXQ")
_ENVIRONMENT = frozenset({"PYTHONPATH", "PYTHONNOUSERSITE", "PYTHONHOME", "PATH"})


@dataclass(frozen=True, slots=True)
class Silence:
    """``reason`` is what ``/proc`` shows; ``remedy`` what the user can change.

    ``certain`` is false when nothing shut the guard out, so that it may only not have spoken yet.
    """

    reason: str
    remedy: str
    certain: bool = True


def explain_silence(pid: int, archive: str) -> Silence | None:
    """Why the guard in ``archive`` did not enter process ``pid``; None when the process is gone.

    ``archive`` is the entry that ``run`` put first on PYTHONPATH.
    """
    command = process.read_cmdline(pid)
    if not command:
        return None
    return explain(command, process.read_exe(pid), process.read_environ(pid), archive)


def explain(
    command: Sequence[str], executable: str | None, environment: Mapping[str, str] | None, archive: str
) -> Silence:
    """The most certain reason that command line and environment give."""
    if not is_python(command, executable):
        return Silence(
            f"{os.path.basename(command[0])} is not a Python interpreter by name: it embeds Python or torch",
            "start the training by a Python interpreter",
        )
    flags = interpreter_flags(command)
    for flag, meaning in (
        ("I", "isolated mode ignores PYTHONPATH"),
        ("E", "it makes Python ignore PYTHONPATH"),
        ("S", "it keeps Python from importing sitecustomize"),
    ):
        if flag in flags:
            return Silence(
                f"Python was started with -{flag}: {meaning}", f"start it without -{flag} (found in: {flags})"
            )
    if environment is None:
        return Silence(
            "its environment cannot be read: it runs under another account", "run the monitor as that account"
        )
    if not environment:
        return Silence("its environment was emptied", "pass the environment on (env -i and sudo drop it)")
    entries = environment.get("PYTHONPATH", "").split(os.pathsep)
    if entries == [""]:
        return Silence("PYTHONPATH was removed from its environment", "let the launcher pass PYTHONPATH on")
    if archive not in entries:
        return Silence(
            "PYTHONPATH was replaced on the way to it",
            'in the launcher script, extend PYTHONPATH ("…:$PYTHONPATH") instead of setting it',
        )
    return Silence(
        "the guard was on its path but did not speak: another sitecustomize came first, or it failed",
        "run `veracity doctor` with this interpreter",
        certain=False,
    )


def is_python(command: Sequence[str], executable: str | None) -> bool:
    """Whether the program is a Python interpreter by the name of its file or of ``argv[0]``."""
    names = [os.path.basename((executable or "").removesuffix(" (deleted)"))]
    if command:
        names.append(os.path.basename(command[0]))
    return any(_PYTHON.match(name) for name in names)


def interpreter_flags(command: Sequence[str]) -> str:
    """The single-letter options before the script, ``-m`` or ``-c``, in order, those in groups too.

    ``["python", "-Es", "-W", "ignore", "train.py", "-I"]`` gives ``EsW``: what follows the script is its own.
    """
    flags = ""
    skip = False
    for argument in command[1:]:
        if skip:
            skip = False
            continue
        if argument == "-" or not argument.startswith("-"):
            break
        if argument.startswith("--"):
            skip = argument == "--check-hash-based-pycs"
            continue
        for position, letter in enumerate(argument[1:], start=1):
            flags += letter
            if letter in _WITH_VALUE:
                # The value is the rest of this argument, or the next one.
                skip = position == len(argument) - 1
                break
        if flags and flags[-1] in "cm":
            break
    return flags
