"""Many short guarded runs from one process: torch is imported once, each run is a fork.

Nothing else is left out. The forked child brings in the guard from the archive that ``veracity run`` would
put on its path, with a spool and a socket of its own; the monitor is ``run_job`` itself, from launch to
verdict, and judges with all detectors. What differs from a whole run: modules that were imported before the
fork came too early to be captured and are not named one by one, so of code identity these runs measure only
the watched functions and what is imported later; and the monitor takes an ordinary share of the machine.
"""

from __future__ import annotations

import atexit
import importlib
import json
import os
import runpy
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from unittest import mock

from veracity.monitor import job, launch
from veracity.monitor.folder import RunFolder
from veracity.monitor.job import RunOptions, run_job
from veracity.monitor.pace import run_delay
from veracity.monitor.prepare import CONFIG_VARIABLE
from veracity.render.json_document import document

from .wholerun import Outcome, read_outcome

Program = Callable[[], None]


@dataclass
class _Forked:
    """What ``run_job`` needs of a started process."""

    pid: int
    returncode: int | None = None


class _OrdinaryShare:
    """In place of ``Pace``: this process goes on afterwards, and must not be left in another class."""

    def __init__(self) -> None:
        self._waited, self.starved = run_delay(), 0.0

    def turned(self) -> None:
        """There is nothing to choose, but how long no processor was free is told as usual."""
        waited = run_delay()
        self.starved, self._waited = waited - self._waited, waited

    def end(self) -> None:
        """Nothing to put back."""


OVERHEAD = "LAWS_OVERHEAD"
"""A variable of the environment: the share of time for dear looks, where not the usual one."""

RESTS = "LAWS_RESTS"
"""Another one: the share of steps at which a stretch of looks begins, for guards that rest from early on."""
_WARM = 40


def _options(home: Path, name: str, *, stacks: bool) -> RunOptions:
    options = RunOptions(home=home, name=name, stacks=stacks, quiet=True)
    return replace(options, overhead=float(os.environ.get(OVERHEAD, options.overhead)))


def forked(
    program: Program, home: Path, *, ranks: int = 1, name: str = "clean", stacks: bool = False
) -> Outcome:
    """Run ``program`` guarded in a fork of this process, with ``ranks`` > 1 in that many below it."""
    errors = home / "errors.txt"
    errors.unlink(missing_ok=True)

    def start(command: Sequence[str], environment: Mapping[str, str]) -> _Forked:
        del command
        pid = os.fork()
        if pid == 0:
            _leave(_shielded(lambda: _child(program, environment, errors, ranks)))
        return _Forked(pid)

    with mock.patch.object(launch, "start", start), mock.patch.object(job, "Pace", _OrdinaryShare):
        result = run_job([name], _options(home, name, stacks=stacks))
    said = errors.read_text(errors="replace") if errors.exists() else ""
    return read_outcome(json.loads(document(result.summary)), result.exit_code, said)


def script(path: Path, arguments: Sequence[str]) -> Program:
    """A training script as a program: run as ``__main__``, with its arguments."""

    def program() -> None:
        sys.argv = [str(path), *arguments]
        runpy.run_path(str(path), run_name="__main__")

    return program


def fork_script(
    path: Path, options: Sequence[str], form: str, home: Path, environment: Mapping[str, str], stacks: bool
) -> Outcome:
    """Run a script in a fork, alone or as two ranks: see ``wholerun.Fork``."""
    del environment
    return forked(script(path, options), home, ranks=2 if form == "ddp" else 1, name=path.stem, stacks=stacks)


def _child(program: Program, environment: Mapping[str, str], errors: Path, ranks: int) -> int:
    # What a command that is executed gets by itself: the monitor's handlers are not the job's.
    signal.set_wakeup_fd(-1)
    for number in (*launch.FORWARDED, signal.SIGCHLD):
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    os.environ.clear()
    os.environ.update(environment)
    output = os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(output, 2)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    if ranks == 1:
        return _guarded(program)
    port = str(_free_port())
    children = []
    for rank in range(ranks):
        pid = os.fork()
        if pid == 0:
            os.environ.update(
                RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(ranks), LOCAL_WORLD_SIZE=str(ranks),
                MASTER_ADDR="127.0.0.1", MASTER_PORT=port, GROUP_RANK="0",
            )  # fmt: skip
            _leave(_shielded(lambda: _guarded(program)))
        children.append(pid)
    # As torchrun's own process would: guarded, called a launcher, waiting.
    sys.orig_argv = ["python", "-m", "torch.distributed.run"]
    return _guarded(lambda: _wait_for(children))


def _free_port() -> int:
    """One below those that the system gives away by itself: two benches at a time must not meet."""
    for port in range(first := 15_000 + os.getpid() % 15_000, first + 100):
        with socket.socket() as free:
            free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                free.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError("no free port")


def _shielded(work: Callable[[], int]) -> int:
    """What a forked child does must end with it: raised any further, it would go on as a second bench."""
    try:
        return work()
    except BaseException:  # noqa: BLE001 - printed to the child's errors; the run fails with exit code 70
        traceback.print_exc()
        return 70


def _wait_for(children: Sequence[int]) -> None:
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    sys.exit(max((abs(code) for code in codes), default=0))


def _guarded(program: Program) -> int:
    """What Python does with a program: the guard first (see ``guard/sitecustomize.py``), then the program."""
    archive = str(RunFolder(Path(os.environ[CONFIG_VARIABLE]).parent).archive)
    sys.path.insert(0, archive)
    try:
        from _veracity_guard.guard import boot, early, imports  # type: ignore[import-not-found]

        imports.ImportWatch._ship_uncaptured = lambda self, path, name: self._seen.add(path)
        # What the bench had imported before the fork is no start-up code of the program's.
        early.look_back = lambda: early.Early((), 0)
        _rest(float(os.environ.get(RESTS, 1)))
        boot.start(archive)
    finally:
        sys.path.remove(archive)
    # One module that comes in after the guard, so that code identity has something to look at.
    sys.modules.pop("bench.laws.intervals", None)
    importlib.import_module("bench.laws.intervals")
    code = 0
    try:
        program()
    except SystemExit as left:
        code = left.code if isinstance(left.code, int) else int(left.code is not None)
    except BaseException:  # noqa: BLE001 - as the interpreter does: it is printed, and the exit code is 1
        traceback.print_exc()
        code = 1
    return code


def _rest(share: float) -> None:
    """Let the guard rest as it would after thousands of steps: soon, and but for this share of steps."""
    if share < 1:
        from _veracity_guard.guard import resting, schedule

        resting.WARM = _WARM
        resting.LOOK = schedule.Terms(b"look", 1e-9, 0.0, share, share, in_a_row=2)


def _leave(code: int) -> None:
    atexit._run_exitfuncs()
    sys.stderr.flush()
    os._exit(code)


def preload() -> None:
    """Import what the programs need, once, before any fork.

    There is no backward pass: the threads of one do not survive a fork.
    """
    import sklearn.datasets  # noqa: F401
    import torch
    import torch._dynamo
    import torch.distributed
    from torch.nn.parallel import DistributedDataParallel  # noqa: F401
    from torch.optim import swa_utils  # noqa: F401

    torch.set_num_threads(1)
    parameter = torch.nn.Parameter(torch.zeros(2))
    for kind in (torch.optim.AdamW, torch.optim.SGD):
        parameter.grad = torch.ones(2)
        optimizer = kind([parameter], lr=0.1)
        optimizer.zero_grad()
        optimizer.step()
