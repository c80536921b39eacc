"""A module executed bytecode that its source does not compile to.

## The law

Code identity: what executes is what was sealed. Python executes the bytecode of a `.pyc` file as long as the
time and size in its header fit the source; nobody reads bytecode, and RECORD gives no digest for it.

## What breaks it

A `.pyc` whose body was exchanged while its header was kept: source and RECORD are intact, behaviour is not.
Also bytecode left over from another text of the source, and a text given to the compiler that is not the
file's.

## How it is checked

The guard captures the body where the import system unmarshals it. The monitor compiles the source afresh, in
another process under the job's own interpreter at the same optimization level, and compares the two code
objects, with `==` and by a canonical digest over everything that decides behaviour. Where those differ, the
two are walked side by side: another release of the same version of Python (3.11.2 and 3.11.7 load each
other's files) writes jumps, moves and positions otherwise, and that is no difference as long as both do the
same to the same values in the same order, with the same handlers. What is left is an error of high
confidence; code of the same parts that the walk cannot settle is counted as not checked. If the
file was changed while the run went on and no RECORD vouches for it, the two may differ honestly: a warning
of low confidence.

## What fools it

Code that runs before the guard does and takes the capture out; modules imported before the guard (counted);
loaders that rewrite code by design, such as a test runner's (counted); a verified body's digest written into
the cache by somebody with the same account. Lines and columns that a `.pyc` claims are not compared, but for
where a function begins: they show in tracebacks only. A release whose compiler had a fault that this one's
has not wrote files that do something else than their sources say: they are found too, and nobody forged them.

## What to do

Delete the `__pycache__` folder that holds the file, after copying it as evidence, and repeat the run. Find
out which account could write there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from ....core.coverage import Coverage
from ....core.finding import Evidence, Finding, Location, finding_of
from ....core.observation import ModuleChecked, Observation
from ....core.rule import Confidence, Rule, Severity
from .evidence import module_evidence

MAX_FINDINGS = 200
UNRECORDED = "not in any RECORD; sealed by content"


class BytecodeForged:
    """One finding per file; counts the modules of the law."""

    rule: ClassVar[Rule] = Rule(
        "code-bytecode-forged",
        "code-identity",
        "A module executed bytecode that its source does not compile to",
        Severity.ERROR,
        Confidence.HIGH,
    )
    takes: ClassVar[tuple[type[Observation], ...]] = (ModuleChecked,)

    def __init__(self) -> None:
        self._reported: set[tuple[str, str]] = set()
        self._coverage = Coverage(self.rule.law, "modules")

    def observe(self, observation: Observation) -> Iterator[Finding]:
        """Judge and count a checked module."""
        if not isinstance(observation, ModuleChecked):
            return
        bytecode = observation.bytecode
        if bytecode in ("same", "compiled", "forged", "stale"):
            reason = UNRECORDED if observation.source == "unrecorded" else ""
            self._coverage.count(checked=bytecode != "stale", reason=reason)
        else:
            self._coverage.count(checked=False, reason=observation.reason or "not checked")
        key = (observation.path, bytecode)
        if bytecode not in ("forged", "stale") or key in self._reported:
            return
        if len(self._reported) >= MAX_FINDINGS:
            self._coverage.skip(f"more than {MAX_FINDINGS} forged modules: the rest is not listed")
            return
        self._reported.add(key)
        yield self._finding(observation)

    def _finding(self, module: ModuleChecked) -> Finding:
        forged = module.bytecode == "forged"
        message = f"{module.module or module.path} executed code that {module.path} does not compile to"
        if not forged:
            message += "; the file was changed while the run went on"
        difference = Evidence("code object", "a fresh compile of the source", module.reason)
        return finding_of(
            self.rule,
            module.module or module.path,
            message,
            rank=module.origin.rank,
            locations=(Location(module.path, module.first_line),),
            evidence=(difference, *module_evidence(module)),
            severity=Severity.ERROR if forged else Severity.WARNING,
            confidence=Confidence.HIGH if forged else Confidence.LOW,
        )

    def finish(self) -> Iterator[Finding]:
        """Nothing is left for the end."""
        return iter(())

    def coverage(self) -> Coverage:
        """Modules whose executed code was compared with their source."""
        return self._coverage
