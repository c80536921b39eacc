"""The run's code: each imported module checked once, whoever of the job's processes imported it."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..core.errors import Error, VerificationError
from ..core.observation import (
    FunctionsExpected,
    FunctionsSeen,
    Gap,
    Hello,
    ModuleChecked,
    ModuleImported,
    SealChecked,
)
from ..core.origin import monitor_origin
from ..core.quantity import quantity
from ..ledger.keys import KEY_FILE, KEY_NAME, SigningKey
from ..observe import process, pysource
from ..observe.pyenv import Distribution, RecordIndex, site_directories
from ..seal.folder import SealFolder
from ..seal.lookup import DIFFERS, SAME, UNKNOWN, SealedFiles
from ..seal.paths import read_seal
from .codecheck import CodeChecker
from .folder import RunFolder
from .program import MAIN, SealedProgram
from .sources import SourceStore

MAX_HELD = 20_000


@dataclass(frozen=True, slots=True)
class Interpreter:
    """The interpreter of the job's first guarded process."""

    path: str
    version: str
    torch: str


class Code:
    """Starts the checker when the first guard greets, under that process's own interpreter."""

    def __init__(self, folder: RunFolder, started_at: int) -> None:
        self._folder = folder
        self._started_at = started_at
        self._checker: CodeChecker | None = None
        self._records: RecordIndex | None = None
        self._waiting: deque[tuple[ModuleImported | FunctionsSeen, bytes]] = deque()
        self._problem = ""
        self._refused = 0
        self.sealed: SealedFiles | None = None
        """The files of the seal that the run was started on, as long as it can be read."""
        self.seals_environment = False
        self.checked: dict[str, ModuleChecked] = {}
        self.interpreter: Interpreter | None = None
        self.pids: set[int] = set()

    @property
    def pending(self) -> int:
        """Checks that are not finished."""
        return 0 if self._checker is None else self._checker.pending + len(self._waiting)

    @property
    def worker_pid(self) -> int:
        """The checker's own process, 0 when there is none."""
        return 0 if self._checker is None else self._checker.worker_pid

    def greeted(self, hello: Hello) -> None:
        """A guard greeted: the first one decides which interpreter checks."""
        self.pids.add(hello.origin.pid)
        if self._checker is not None:
            return
        python = _interpreter(hello)
        version = ".".join(hello.python.split(".")[:2])
        self.interpreter = Interpreter(python, hello.python, hello.torch)
        environment = process.read_environ(hello.origin.pid) or dict(os.environ)
        self._records = RecordIndex(site_directories(hello.executable or python, version, environment))
        home = self._folder.home
        sources = SourceStore(home / "sources")
        self._checker = CodeChecker(
            python, self._folder.archive, home / "cache", self._records, sources, self._started_at
        )
        self._checker.optimize = hello.optimize
        self._checker.sealed = (
            SealedProgram(self._standing, self._digest) if self.sealed is not None else None
        )

    def started_on(self, checked: SealChecked, command: Sequence[str]) -> list[Gap]:
        """The seal that the run is started on, in which imports are looked up; a gap if it cannot be.

        The texts of programs that ``command`` names are kept as they were sealed: somebody may edit them
        while they run.
        """
        said = self.open_seal(checked)
        if not said:
            self._keep_programs(command)
        return said

    def open_seal(self, checked: SealChecked) -> list[Gap]:
        """Open the seal that a run was started on, as the record of its start names it; a gap if it is gone,
        another one, or not as it was signed.
        """
        home = self._folder.home
        folder = SealFolder(home / "seals" / checked.seal)
        try:
            seal = read_seal(folder, SigningKey.load(home / KEY_FILE, KEY_NAME).verifier)
            if seal.digest != checked.digest:
                raise VerificationError("it is another seal now than before the start")
            self.sealed = SealedFiles(folder, seal)
            self.seals_environment = seal.examined is not None
        except Error as error:
            what = f"modules are not compared with {checked.seal}"
            return [Gap(checked.origin, what, str(error), law="sealed-code", stops=True)]
        return []

    def _keep_programs(self, command: Sequence[str]) -> None:
        for word in command:
            found = pysource.read_source(os.path.abspath(word)) if word.endswith(".py") else ""
            if isinstance(found, pysource.PySource) and self._standing(found.path, found.sha256) == SAME:
                with contextlib.suppress(OSError):  # then an edit of the file leaves it unchecked
                    SourceStore(self._folder.home / "sources").keep(found.data, found.sha256)

    def _standing(self, path: str, digest: str) -> str:
        """How a file stands in the seal; empty when that cannot be read, which the next look-up tells."""
        try:
            return "" if self.sealed is None else self.sealed.standing(path, digest)
        except Error:
            return ""

    def _digest(self, path: str) -> str:
        try:
            return "" if self.sealed is None else self.sealed.sealed(path)
        except Error:
            return ""

    def imported(self, module: ModuleImported, body: bytes) -> None:
        """A module was imported in some process of the job."""
        self._queue(module, body)

    def functions(self, seen: FunctionsSeen) -> None:
        """Functions were read in memory: ask for what their files define."""
        self._queue(seen, b"")

    def _queue(self, one: ModuleImported | FunctionsSeen, body: bytes) -> None:
        if len(self._waiting) < MAX_HELD:
            self._waiting.append((one, body))
        else:
            self._refused += 1

    def poll(self, seconds: float) -> list[ModuleChecked | FunctionsExpected | Gap]:
        """What was finished since the last call.

        Spends about ``seconds`` on what is waiting, in the order it came: a job imports a thousand modules
        within seconds, and the steps that follow must not wait for all of them.
        """
        if self._checker is None:
            return []
        deadline = time.monotonic() + seconds
        while self._waiting and time.monotonic() < deadline:
            self._submit(self._checker, *self._waiting.popleft())
        try:
            found = self._checker.poll()
        except OSError as error:
            if self._problem:
                return []
            self._problem = f"{error.strerror or error}"
            origin = monitor_origin(time.time_ns())
            return [
                Gap(origin, "code is not checked any more", self._problem, law="code-identity", stops=True)
            ]
        if self._refused:
            refused = quantity(self._refused, "module or function was", "modules or functions were")
            what = f"{refused} not checked"
            why = f"more than {MAX_HELD} were waiting for their check"
            found.append(Gap(monitor_origin(time.time_ns()), what, why, law="code-identity", stops=True))
            self._refused = 0
        found = self._looked_up(found)
        for one in found:
            if isinstance(one, ModuleChecked) and len(self.checked) < MAX_HELD:
                self.checked[one.path] = one
        return found

    def _looked_up(
        self, found: list[ModuleChecked | FunctionsExpected | Gap]
    ) -> list[ModuleChecked | FunctionsExpected | Gap]:
        """The same with what the seal says of each module's source."""
        if self.sealed is None:
            return found
        said: list[ModuleChecked | FunctionsExpected | Gap] = []
        for one in found:
            if not isinstance(one, ModuleChecked) or self.sealed is None:
                said.append(one)
                continue
            if not one.source_digest:
                said.append(replace(one, sealed=UNKNOWN) if one.module == MAIN else one)
                continue
            try:
                standing = one.sealed or self.sealed.standing(one.path, one.source_digest)
                said.append(replace(one, sealed=_as_executed(one, standing)))
            except Error as error:
                self.sealed = None
                what = "modules are not compared with the seal any more"
                said += [one, Gap(one.origin, what, str(error), law="sealed-code", stops=True)]
        return said

    @staticmethod
    def _submit(checker: CodeChecker, one: ModuleImported | FunctionsSeen, body: bytes) -> None:
        if isinstance(one, ModuleImported):
            checker.submit(one, body)
            return
        for function in one.functions:
            if function.path:
                checker.watch(function.path)

    def distributions(self) -> list[Distribution]:
        """Distributions in the directories the job imports from."""
        return [] if self._records is None else self._records.distributions()

    @staticmethod
    def python_of(hello: Hello) -> str:
        """The interpreter of the process that greeted, as it was called."""
        return _interpreter(hello)

    @property
    def records(self) -> RecordIndex | None:
        """The RECORDs of the job's environment, None before a guard greeted."""
        return self._records

    def folders(self) -> list[str]:
        """The environment's folders that distributions are installed in."""
        return list({one.directory: None for one in self.distributions()})

    def belongs(self, path: str) -> tuple[str, str]:
        """Whose code a file is: ``recorded`` and its distribution, ``imported``, or ``unrecorded``.

        A file that was written to elsewhere than among the distributions is one that the job has imported,
        whether or not its check has come.
        """
        entry = None if self._records is None else self._records.lookup(path)
        if entry is not None:
            return "recorded", entry.distribution.name
        installed = path.startswith(tuple(folder.rstrip(os.sep) + os.sep for folder in self.folders()))
        return ("unrecorded" if installed and path not in self.checked else "imported"), ""

    def held(self) -> None:
        """The run held: its own sources become what later changes are shown against."""
        if self._checker is not None:
            self._checker.trust_held()

    def close(self) -> None:
        """End the checker's process."""
        if self.sealed is not None:
            self.sealed.close()
        if self._checker is not None:
            self._checker.close()


def _as_executed(module: ModuleChecked, standing: str) -> str:
    """How a module stands whose text stands so: it is not known to be, or known not to be, what executed."""
    if standing != SAME:
        return standing
    if module.bytecode in ("forged", "stale"):
        return DIFFERS
    return UNKNOWN if module.module == MAIN and module.bytecode == "unchecked" else standing


def _interpreter(hello: Hello) -> str:
    """The job's interpreter: as it was called when that is the program the kernel runs, else the latter."""
    running = process.read_exe(hello.origin.pid)
    called = hello.executable
    if running is None:
        return called or sys.executable
    if called and os.path.realpath(called) == os.path.realpath(running):
        return called
    return running
