"""Running statistics were written between two steps.

## The law

Between steps the running mean and variance of a batch normalisation are moved by its own forward passes in
training mode, and by nothing else.

## What breaks it

A line that adds to, scales or replaces them: training looks as before, since it uses the statistics of each
batch, and the model that is evaluated or delivered is another one.

## How it is checked

torch's forward pass moves running statistics without raising the tensors' version counters; any other write
in place raises them. The counters are read before each optimizer step. After ten steps at which they stood
still, a rise by one is a finding. A rise by more is taken for an exchange that was taken back (averaged
weights put in for an evaluation), a count of batches that was set back for ``reset_running_stats``, and what
comes with a new pass over a loader is a note. Loading a state begins anew.

Writes that raise no counter (through ``.data``, NumPy, other memory) show in the statistics themselves: what
one forward pass makes of them follows from their momentum and from the mean and variance of its batch, which
autograd keeps until the backward pass. At the first steps, and then at those that are looked at closely and
at one of four others, four normalisations at a time are derived again so. After ten steps at which all
agreed, one that does not is a finding.

## What fools it

An even number of counted writes. Uncounted ones at steps at which nothing is derived, of normalisations that
have not their turn, or together with a counted one; where several forward passes come before one backward
pass, and where none does after the write. Compiled passes and DistributedDataParallel's broadcasts raise the
counters at each step, and classes of the program's own compute by rules of their own: there nothing is
checked.

## What to do

Look for writes to ``running_mean`` and ``running_var``, also through ``buffers()`` and ``named_buffers()``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from ....core.contract import Hyper
from ....core.finding import Finding, finding_of
from ....core.observation import StepRecord
from ....core.quantity import quantity
from ....core.rule import Confidence, Rule, Severity
from ...courses import ByOptimizer

SETTLED = 10
TOLERANCE = 1e-4
"""Far above what float32 makes of a running statistic in one step, far below what harms a model."""


@dataclass(slots=True)
class _Course:
    """Steps of one optimizer before which no statistics were written; ``writing`` once it has seen others.

    ``agreed`` are those at which all that were derived came out so, until one did not: ``departs``.
    """

    still: int = 0
    writing: bool = False
    agreed: int = 0
    departs: bool = False


class BuffersWritten(ByOptimizer[_Course]):
    """Follows the writes into running statistics."""

    rule: ClassVar[Rule] = Rule(
        "continuity-buffers-written",
        "weight-continuity",
        "Running statistics were written between two steps",
        Severity.WARNING,
        Confidence.HIGH,
    )

    def begin(self) -> _Course:
        """No step yet."""
        return _Course()

    def step(self, course: _Course, step: StepRecord, *, at_pass: bool) -> Iterator[Finding]:
        """One finding for each optimizer of a process: afterwards its program is known to write."""
        if not step.buffers:
            course.still += 1
        elif not course.writing:
            once = [told for told in step.buffers if _written_once(told)]
            course.writing = course.still < SETTLED or bool(once)
            if once and course.still >= SETTLED:
                yield self._finding(step, str(once[0][0]), len(once), at_pass=at_pass)
                return
        if step.followed and not course.departs:
            odd = list(dict.fromkeys(str(told[0]) for told in step.statistics if _departs(told)))
            settled = course.agreed >= SETTLED
            course.departs = bool(odd)
            course.agreed += not odd
            if odd and settled:
                yield self._finding(step, odd[0], len(odd), at_pass=at_pass)

    def _finding(self, step: StepRecord, name: str, count: int, *, at_pass: bool) -> Finding:
        more = f" and those of {quantity(count - 1, 'other module')}" if count > 1 else ""
        when = ", with a new pass over the data" if at_pass else ""
        return finding_of(
            self.rule,
            name or "the module",
            f"before step {step.step}{when}, the running statistics of {name or 'the module'}{more} were "
            "written by something else than a forward pass",
            rank=step.origin.rank,
            first_step=step.step,
            severity=Severity.NOTE if at_pass else None,
        )


def _departs(told: list[Hyper]) -> bool:
    """Whether a derived statistic is off by more than rounding makes of its largest value."""
    if len(told) != 4:
        return False
    off, size = told[2], told[3]
    return isinstance(off, (int, float)) and isinstance(size, (int, float)) and off > TOLERANCE * size > 0.0


def _written_once(told: list[Hyper]) -> bool:
    return len(told) == 3 and told[1] == 1 and told[2] is False
