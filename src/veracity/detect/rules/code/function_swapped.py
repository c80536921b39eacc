"""A function that training depends on was exchanged in memory.

## The law

Code identity: what executes is what was sealed. The functions that decide a step (optimizer `step`, clipping,
`backward` …) stay what the files they come from define.

## What breaks it

A function replaced while the job runs, its `__code__` exchanged, or a method put on one object, from a module
that has nothing to do with training.

## How it is checked

The guard reads the code digests of the watched functions again while the run goes on: those of torch and
of the optimizers' own modules, the methods of the classes that the trained modules are of, and a
``forward`` that is put on a single module, and functions of torch that are built in. What all forward
and backward passes use is compared at each step that is looked at, before its backward pass and after
the step, and within the forward passes that are captured.

The monitor compiles the files they say they come from: a digest that is not among those is an error, and
so is a function that is another one than at the first look, unless the new one's file is as RECORD says
and belongs to a distribution (schedulers, accelerate, autologgers): that is a note. So is a method of
what is trained that gives way to another function of the same file, and one of whose file there was no
time to compile it: the run is then incomplete. A function that was there before is not told of again.
This guard's own functions are expected.

## What fools it

Code that restores the function whenever the guard looks, as does one that exchanges it for a forward
pass alone, at steps that are not captured; a replacement made before the first look by a file that
defines it openly (it is sealed by content). A variable of the program itself, which it gives to another
of its own functions: programs change their loss so. Functions without a code object are counted, not
checked, and so is what torch.compile puts into a module. Modules beyond the first 1,024, and classes
beyond 128 (a gap).

## What to do

Read the place named: it is where the new code says it comes from, which is self-reported. Search the job's
imports for the module that could reach it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from ....core.coverage import Coverage
from ....core.finding import Evidence, Finding, Location, finding_of
from ....core.observation import FunctionIdentity, FunctionsExpected, FunctionsSeen, Observation
from ....core.rule import Confidence, Rule, Severity

MAX_WATCHED = 20_000
MAX_EARLIER = 16
# Names by which torch.compile puts the rest of a function, after a break in its graph, beside it.
_COMPILED = re.compile(r"__resume_at_\d+_\d+|__compiled_fn_\d+\w*")
GUARD_FOLDER = "_veracity_guard"
MAIN = "__main__"


@dataclass(frozen=True, slots=True)
class _Look:
    """A function to judge; ``before`` is what it was at an earlier look, None at the first."""

    rank: int
    step: int
    now: FunctionIdentity
    before: FunctionIdentity | None


def _parts(function: FunctionIdentity) -> int:
    """How many names lead to it from the program itself: 1 for its variables, 2 for methods of its classes;
    0 where another module holds it.
    """
    module, *names = function.name.replace(".__wrapped__", "").split(".")
    on_an_object = bool(names) and names[0].endswith("()")
    return len(names) if module == MAIN and not on_an_object else 0


class FunctionSwapped:
    """Judges each function at its first look and whenever it changes."""

    rule: ClassVar[Rule] = Rule(
        "code-function-swapped",
        "code-identity",
        "A watched function is not the one its file defines",
        Severity.ERROR,
        Confidence.HIGH,
    )
    takes: ClassVar[tuple[type[Observation], ...]] = (FunctionsExpected, FunctionsSeen)

    def __init__(self) -> None:
        self._last: dict[tuple[int, str], FunctionIdentity] = {}
        self._earlier: dict[tuple[int, str], set[tuple[str, str]]] = {}
        self._expected: dict[str, FunctionsExpected] = {}
        self._digests: dict[str, frozenset[str]] = {}
        self._waiting: dict[str, list[_Look]] = {}
        self._wait = 0
        self._programs: set[str] = set()
        self._coverage = Coverage(self.rule.law, "modules")

    def observe(self, observation: Observation) -> Iterator[Finding]:
        """Take in what was seen and what is expected, in any order."""
        if isinstance(observation, FunctionsExpected):
            self._expected[observation.path] = observation
            self._digests[observation.path] = frozenset(observation.functions.values())
            waiting = self._waiting.pop(observation.path, [])
            self._wait -= len(waiting)
            for look in waiting:
                yield from self._judge(look)
        elif isinstance(observation, FunctionsSeen):
            self._programs |= {one.path for one in observation.functions if _parts(one) == 2}
            for function in observation.functions:
                key = (observation.origin.pid, function.name)
                before = self._last.get(key)
                if before is not None and (before.code, before.path) == (function.code, function.path):
                    continue
                if before is None and len(self._last) >= MAX_WATCHED:
                    self._coverage.skip("too many watched functions")
                    continue
                self._last[key] = function
                if not self._returned(key, function):
                    yield from self._judge(_Look(observation.origin.rank, observation.step, function, before))

    def _returned(self, key: tuple[int, str], function: FunctionIdentity) -> bool:
        """Whether this one was there before, which is remembered of the first :data:`MAX_EARLIER`."""
        earlier, code = self._earlier.setdefault(key, set()), (function.code, function.path)
        if code in earlier:
            return True
        if len(earlier) < MAX_EARLIER:
            earlier.add(code)
        return False

    def _judge(self, look: _Look) -> Iterator[Finding]:
        now = look.now
        if _COMPILED.fullmatch(now.name.rpartition(".")[2]):
            self._coverage.skip("what torch.compile made of a watched module's functions is in no file")
            return
        if not now.code or now.path.startswith("<") or not now.path:
            if look.before is not None:
                yield self._finding(look, "was replaced while the run went on by code of no file")
            else:
                self._coverage.skip("a watched function has no code of its own in a file")
            return
        expected = self._expected.get(now.path)
        if expected is None:
            self._wait_for(look)
            return
        digests = self._digests[now.path]
        if digests and now.code not in digests:
            yield self._finding(look, f"is not among the functions that {now.path} defines")
        elif look.before is not None:
            vouched = expected.sealed and expected.distribution != ""
            if not vouched and _parts(now) == 1 and now.path in self._programs:
                return  # a name of the program's own that it gave to another of its functions
            if not vouched:
                # A program's phases may run another of the functions that stand beside it.
                severity = Severity.NOTE if now.forward and now.path == look.before.path else Severity.ERROR
                message = f"was replaced while the run went on by code of {now.path}"
                yield self._finding(look, message, severity)
            elif expected.distribution != "veracity":
                message = f"was replaced while the run went on by {expected.distribution}, as installed"
                yield self._finding(look, message, Severity.NOTE)
        elif not digests:
            self._coverage.skip("a watched function's file could not be compiled as it was imported")

    def _wait_for(self, look: _Look) -> None:
        if self._wait >= MAX_WATCHED:
            self._coverage.skip("too many watched functions")
            return
        self._wait += 1
        self._waiting.setdefault(look.now.path, []).append(look)

    def _finding(self, look: _Look, what: str, severity: Severity = Severity.ERROR) -> Finding:
        now, before = look.now, look.before
        was = f"{before.path}:{before.line} ({before.code[:16]})" if before is not None else ""
        return finding_of(
            self.rule,
            now.name,
            f"{now.name} {what}",
            rank=look.rank,
            first_step=look.step if look.step >= 0 else None,
            locations=(Location(now.path, max(now.line, 0)),) if now.path else (),
            evidence=(Evidence("function", was, f"{now.path}:{now.line} ({now.code[:16]})"),),
            severity=severity,
        )

    def finish(self) -> Iterator[Finding]:
        """Judge what no expectation came for."""
        for look in (one for waiting in self._waiting.values() for one in waiting):
            if look.before is None:
                self._coverage.skip("the file of a watched function was not compiled")
            elif GUARD_FOLDER not in look.now.path.split("/"):
                # The check of every file is answered, unless time ran out: nothing is known of this one.
                message = f"was replaced meanwhile by code of {look.now.path}, which was not compared"
                self._coverage.skip("the file of a function that was replaced was not compared")
                yield self._finding(look, message, Severity.NOTE)
        self._waiting.clear()
        self._wait = 0

    def coverage(self) -> Coverage:
        """Modules are counted by ``code-bytecode-forged``, once for the law."""
        return self._coverage
