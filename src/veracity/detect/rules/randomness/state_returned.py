"""A random generator is in a state that it was in at an earlier step.

## The law

No state of torch's, Python's or NumPy's generator returns while one training goes on: what is drawn at a step
(dropout, noise, augmentation) was not drawn before.

## What breaks it

A seed set again in the middle of training, a generator's state put back, a fixed seed within a layer or a
collate function: the same masks and noise come again and again, and the model trains on less than it seems.

## How it is checked

The digest of each generator's state is read before each optimizer step (Python's and NumPy's at every eighth)
and compared with those of all earlier steps of the process. A state that stays the same was not drawn from,
unless torch's generator had been set in between (``manual_seed``, ``set_rng_state``) and drawn from after
that: then it is put back before each step, a warning where it had moved on at ten steps in a row before. A
finding needs a state that returned and five steps in a row that went the old way in the old order. At the
first step of a pass over a loader, where programs set a seed for each epoch, it is a warning. A new
optimizer, or state that is loaded into model or optimizer (a resume, a roll-back), begins anew.

## What fools it

A seed set at every single step from the first on, or by other ways than torch's functions (a method of the
generator), which looks as if nothing were drawn; or one that each item of a data set sets for itself, so that
states return in another order. A seed set only once, unless the same number of draws had been made from it
before. Generators other than the three.

## What to do

Look for ``manual_seed``, ``set_rng_state`` and ``seed`` calls that run within the loop. Where evaluation
needs a fixed seed, put the state back to what it was before, as ``torch.random.fork_rng`` does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

from ....core.coverage import Coverage
from ....core.finding import Evidence, Finding, finding_of
from ....core.observation import LoaderStarted, Observation, OptimizerDeclared, StateRestored, StepRecord
from ....core.quantity import quantity
from ....core.rule import Confidence, Rule, Severity
from ...newpass import NewPasses
from .put_back import CONFIRMED as PUT_BACK_STEPS
from .put_back import PutBack, was_drawn_again

MAX_STATES = 100_000
MAX_PROCESSES = 4096
CONFIRMED = 5
NOT_DRAWN = "torch's generator was not drawn from since the step before"


@dataclass(slots=True)
class _Return:
    """A way that is gone again: since which step, from which earlier one, how many steps by now."""

    step: int
    earlier: int
    at_pass: bool
    length: int = 1
    last: tuple[int, int] = (0, 0)

    def goes_on(self, step: int, earlier: int) -> bool:
        """Whether the way leads on as it did then, or has begun once more."""
        last_step, last_earlier = self.last
        return earlier - last_earlier == step - last_step or earlier == self.earlier


@dataclass(slots=True)
class _Generator:
    """One generator of one process: its states by step, the newest last."""

    seen: dict[str, int] = field(default_factory=dict)
    last: str = ""
    again: _Return | None = None
    reported: set[bool] = field(default_factory=set)

    def take(self, state: str, step: int, *, at_pass: bool) -> bool:
        """Note the state before a step; whether it was drawn from since the step before."""
        if state == self.last:
            return False
        self.last = state
        earlier = self.seen.get(state)
        if earlier is None:
            self.again = None
            if len(self.seen) >= MAX_STATES:
                del self.seen[next(iter(self.seen))]
            self.seen[state] = step
        elif self.again is None or not self.again.goes_on(step, earlier):
            self.again = _Return(step, earlier, at_pass, last=(step, earlier))
        else:
            self.again.length += 1
            self.again.last = step, earlier
        return True


class StateReturned:
    """Compares each step's generator states with all before."""

    rule: ClassVar[Rule] = Rule(
        "randomness-state-returned",
        "randomness",
        "A random generator returned to an earlier state",
        Severity.ERROR,
        Confidence.HIGH,
    )
    takes: ClassVar[tuple[type[Observation], ...]] = (
        LoaderStarted,
        OptimizerDeclared,
        StateRestored,
        StepRecord,
    )

    def __init__(self) -> None:
        self._coverage = Coverage("randomness", "steps")
        self._generators: dict[int, dict[str, _Generator]] = {}
        self._put_back: dict[int, dict[int, PutBack]] = {}
        self._told: set[tuple[int, int]] = set()
        self._passes = NewPasses()
        self._optimizers: set[tuple[int, int]] = set()

    def observe(self, observation: Observation) -> Iterator[Finding]:
        """A finding for each generator of a process, when a way has been gone again for five steps."""
        pid = observation.origin.pid
        if isinstance(observation, LoaderStarted):
            self._passes.begin(pid)
        elif isinstance(observation, StateRestored):
            self._begin_anew(pid)
        elif isinstance(observation, OptimizerDeclared):
            key = pid, observation.optimizer.index
            if key not in self._optimizers and len(self._optimizers) < MAX_PROCESSES:
                self._optimizers.add(key)
                self._begin_anew(pid)
        elif isinstance(observation, StepRecord):
            yield from self._step(pid, observation)

    def finish(self) -> Iterator[Finding]:
        """Nothing is left for the end: one return alone may be chance of a program's own making."""
        yield from ()

    def coverage(self) -> Coverage:
        """Steps before which torch's generator had been drawn from, so that a return would have shown."""
        return self._coverage

    def _begin_anew(self, pid: int) -> None:
        self._generators.pop(pid, None)
        self._put_back.pop(pid, None)

    def _step(self, pid: int, step: StepRecord) -> Iterator[Finding]:
        if pid not in self._generators and len(self._generators) >= MAX_PROCESSES:
            self._coverage.count(checked=False, reason="more processes than are followed")
            return
        generators = self._generators.setdefault(pid, {})
        at_pass = self._passes.step(pid, step.optimizer)
        drawn = False
        for name in ("torch", "python", "numpy"):
            state = step.rng.get(name)
            if state is None:
                continue
            generator = generators.setdefault(name, _Generator())
            moved = generator.take(state[:64], step.step, at_pass=at_pass)
            drawn = drawn or (moved and name == "torch")
            again = generator.again
            if (
                moved
                and again is not None
                and again.length >= CONFIRMED
                and again.at_pass not in generator.reported
            ):
                generator.reported.add(again.at_pass)
                yield self._finding(name, step, again)
        put_back = self._put_back.setdefault(pid, {}).setdefault(step.optimizer, PutBack())
        if put_back.take(step, at_pass=at_pass) and (pid, step.optimizer) not in self._told:
            self._told.add((pid, step.optimizer))
            yield self._each_step(step, put_back)
        drawn = drawn or was_drawn_again(step)
        self._coverage.count(checked=drawn, reason="" if drawn else NOT_DRAWN)

    def _each_step(self, step: StepRecord, put_back: PutBack) -> Finding:
        between_passes = put_back.passes == PUT_BACK_STEPS
        return finding_of(
            self.rule,
            "torch generator",
            f"torch's random generator is put back before each step since step {put_back.first}: it is set, "
            "drawn from, and then in the same state as at the step before, although it had moved on from "
            "step to step until then; what was drawn for one step is drawn again for the next",
            rank=step.origin.rank,
            first_step=put_back.first,
            severity=Severity.NOTE if between_passes else Severity.WARNING,
            confidence=Confidence.MEDIUM,
            evidence=(
                Evidence(
                    f"state of torch's generator before step {step.step}",
                    expected="one that did not occur before",
                    observed=f"the one before step {step.step - 1}, after it had been set to another",
                ),
            ),
        )

    def _finding(self, name: str, step: StepRecord, again: _Return) -> Finding:
        where = "at the first step of a pass over a loader, " if again.at_pass else ""
        return finding_of(
            self.rule,
            f"{name} generator",
            f"before step {again.step}, {where}{name}'s random generator is in the state it was in before "
            f"step {again.earlier}, and it has gone the same way since for {quantity(again.length, 'step')}: "
            "what was drawn then is drawn again",
            rank=step.origin.rank,
            first_step=again.step,
            severity=Severity.WARNING if again.at_pass else None,
            evidence=(
                Evidence(
                    f"state of {name}'s generator before step {again.step}",
                    expected="one that did not occur before",
                    observed=f"the one before step {again.earlier}",
                ),
            ),
        )
