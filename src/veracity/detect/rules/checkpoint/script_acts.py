"""The code in a TorchScript archive reaches files, other machines or the random state.

## The law

Load: nothing that can execute is loaded unseen. A scripted model computes; it does not read or write files.

## What breaks it

``torch.from_file(…, shared=True)`` writes to whatever file it is given, ``torch.save`` makes one: a
scripted model can call both while it is loaded (``__setstate__``) or used, and ``weights_only`` does not
look into its code. ``torch.manual_seed`` in a forward pass returns the job's random state to the same place
at each step.

## How it is checked

The code is not Python: its compiler resolves every name to an operator of torch or to code in the same
archive. So the names that stand in it, strings and comments left out, are all it can call; a namespace that
is given another name is followed, and the operators of mobile bytecode are read, too. Operators for files
are an error, seeds and calls to other machines a warning. Printing and raising are not reported.

## What fools it

Operators of extensions (``torch.ops.load_library``), whatever they do. What is computed: wrong numbers are
no operator.

## What to do

Do not load it. Ask who exported it, and export it again from source that you have read.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from ....core.coverage import Coverage
from ....core.finding import Evidence, Finding, Location, finding_of
from ....core.observation import Observation, ScriptCode
from ....core.rule import Confidence, Rule, Severity

MAX_FINDINGS = 200
_FILES = frozenset({"aten.from_file", "aten.save", "debugprims.load_tensor"})
_SEEDS = frozenset({"aten.manual_seed", "aten.seed"})
_REMOTE = frozenset({"prim.rpc_async", "prim.rpc_sync", "prim.rpc_remote", "aten.rpc_async", "aten.rpc_sync"})


class ScriptActs:
    """One finding for each file of code."""

    rule: ClassVar[Rule] = Rule(
        "checkpoint-script-acts",
        "load",
        "The code in a TorchScript archive reaches files, other machines or the random state",
        Severity.ERROR,
        Confidence.HIGH,
    )
    takes: ClassVar[tuple[type[Observation], ...]] = (ScriptCode,)

    def __init__(self) -> None:
        self._coverage = Coverage(self.rule.law, "files of code")
        self._given = 0

    def observe(self, observation: Observation) -> Iterator[Finding]:
        """Judge the names in one file of code."""
        if not isinstance(observation, ScriptCode):
            return
        self._coverage.count(checked=True)
        names = frozenset(observation.operators)
        for kinds, severity, does in (
            (_FILES, Severity.ERROR, "files are read or written"),
            (_SEEDS, Severity.WARNING, "the random state is set"),
            (_REMOTE, Severity.WARNING, "other machines are called"),
        ):
            found = sorted(names & kinds)
            if found and self._given < MAX_FINDINGS:
                self._given += 1
                yield finding_of(
                    self.rule,
                    observation.name,
                    f"{observation.name} names {', '.join(found)}: {does}",
                    locations=(Location(observation.name.partition("!")[0]),),
                    evidence=(Evidence("operators", observed=", ".join(found)),),
                    severity=severity,
                )

    def finish(self) -> Iterator[Finding]:
        """Nothing is left for the end."""
        return iter(())

    def coverage(self) -> Coverage:
        """Files of code."""
        return self._coverage
