"""A hook of the program begins to change gradients or outputs in mid-training.

## The law

The gradient is the derivative of the loss; a hook between that changes it does so by the program's design,
from its first calls on.

## What breaks it

A hook on a tensor or module that hands everything on unchanged for a while, and from some step on flips,
scales, masks, zeroes or exchanges a gradient, or replaces a module's output.

## How it is checked

Functions that the program registers on tensors, modules or accumulated gradients are called through the
guard, which compares what each was given with what it gave back at every call. What a hook does in the first
five steps of its life is its habit, and left alone. Of one that changed nothing until then a change is a
finding. Clamping to bounds and clearing what is not finite are no change of habit. A factor on the whole
gradient may be a clipping of its norm, so it is a finding only when the same factor comes three times for
different norms. An autograd function that a hook puts in the place of an output is looked at in the same way,
as the gradient comes back through it. What begins at the first step of a pass over a loader is a note, since
programs have phases.

Hooks before an optimizer's step are followed by the elements of gradients that are sampled around them, and
by torch's count of writes; ten calls show their habit. A factor that all gradients have in common is no
clipping of a norm where it enlarges them, where the norm was not larger than that of gradients which the hook
left as they were a few steps before, or is then far below what it was at these: it is a finding at once.

## What fools it

A hook that acts from its first steps on, seldom at first; one registered in C++ or by an object with
``__call__``; an autograd function within the forward pass itself. Gradient truth sees those on the steps that
it draws.

## What to do

Look at the line named. A hook that is meant to begin later is best registered when it begins, at an epoch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

from ....core.coverage import Coverage
from ....core.finding import Evidence, Finding, Location, finding_of
from ....core.observation import HookActed, LoaderStarted, Observation, StepRecord
from ....core.quantity import quantity
from ....core.rule import Confidence, Rule, Severity
from ...newpass import NewPasses

MAX_HOOKS = 4096
CONFIRMED = 3
ROUNDED = 1.001
BELOW = 0.9
SAME = 2e-3
INNOCENT = ("clamped", "cleared")
_DOES = {"scaled": "scales", "other": "changes", "replaced": "replaces"}
_WHAT = {
    "tensor": "the gradient of a tensor",
    "accumulated": "an accumulated gradient",
    "backward": "the gradients that a module passes on",
    "backward pre": "the gradients that a module is given",
    "forward": "the output of a module",
    "forward pre": "the input of a module",
    "step": "gradients before the optimizer's step",
    "function": "the gradient that comes back through it",
}


@dataclass(slots=True)
class _Hook:
    """The factors that one hook of one process has applied so far, and whether it was spoken of."""

    scaled: list[HookActed] = field(default_factory=list)
    reported: bool = False


class HookBegan:
    """Looks at the first thing that a hook does beyond its habit."""

    rule: ClassVar[Rule] = Rule(
        "gradient-hook-began",
        "gradient-truth",
        "A hook begins to change gradients in mid-training",
        Severity.WARNING,
        Confidence.HIGH,
    )
    takes: ClassVar[tuple[type[Observation], ...]] = (HookActed, LoaderStarted, StepRecord)

    def __init__(self) -> None:
        self._coverage = Coverage(self.rule.law, "steps")
        self._hooks: dict[tuple[int, str, str, int], _Hook] = {}
        self._reported: set[tuple[str, str, int]] = set()
        self._passes = NewPasses()

    def observe(self, observation: Observation) -> Iterator[Finding]:
        """One finding for each piece of code, by whichever rank shows it first."""
        pid = observation.origin.pid
        if isinstance(observation, LoaderStarted):
            self._passes.begin(pid)
        elif isinstance(observation, StepRecord):
            self._passes.step(pid, observation.optimizer)
        elif isinstance(observation, HookActed):
            yield from self._acted(pid, observation)

    def finish(self) -> Iterator[Finding]:
        """Nothing is left for the end."""
        yield from ()

    def coverage(self) -> Coverage:
        """Nothing of its own: hooks are looked at whenever they are called."""
        return self._coverage

    def _acted(self, pid: int, acted: HookActed) -> Iterator[Finding]:
        key = pid, acted.hook, acted.path, acted.line
        hook = self._hooks.get(key)
        if hook is None:
            if len(self._hooks) >= MAX_HOOKS:
                return
            hook = self._hooks[key] = _Hook()
        if hook.reported or acted.relation in INNOCENT:
            return
        first = acted
        if acted.relation == "scaled" and not _cannot_clip(acted):
            hook.scaled = [*hook.scaled, acted][-CONFIRMED:]
            if not _constant(hook.scaled):
                return
            first = hook.scaled[0]
        hook.reported = True
        if key[1:] not in self._reported:
            self._reported.add(key[1:])
            yield self._finding(first, at_pass=self._passes.waiting(pid))

    def _finding(self, acted: HookActed, *, at_pass: bool) -> Finding:
        does = f"{_DOES.get(acted.relation, 'changes')} {_WHAT.get(acted.hook, 'a gradient')}"
        how = f" by {acted.ratio:.4g}" if acted.relation == "scaled" else ""
        what = "autograd function" if acted.hook == "function" else "hook"
        when = ", which is the first of a pass over the data" if at_pass else ""
        return finding_of(
            self.rule,
            acted.name,
            f"step {acted.step}{when}: the {what} {acted.name} {does}{how}; at "
            f"{quantity(acted.steps, 'step')} before it changed nothing",
            rank=acted.origin.rank,
            first_step=acted.step,
            locations=(Location(acted.path, acted.line),),
            severity=Severity.NOTE if at_pass else None,
            evidence=(
                Evidence(
                    "what it gave back, against what it was given",
                    expected="the same",
                    observed=f"{acted.relation}, {acted.share:.3g} of the elements",
                ),
            ),
        )


def _cannot_clip(acted: HookActed) -> bool:
    """Whether a factor on all gradients is that of no clipping.

    A limit acts on no norm that was left alone before, and one that follows the norms does not lie far below
    what they usually are.
    """
    if acted.hook != "step" or acted.ratio <= 0.0 or acted.norm <= 0.0:
        return False
    spared = acted.norm <= ROUNDED * acted.quiet
    return acted.ratio > 1.0 or spared or acted.norm * acted.ratio < BELOW * acted.usual


def _constant(acted: list[HookActed]) -> bool:
    """Whether one factor came several times for different norms: no clipping of a norm does that."""
    ratios, norms = [one.ratio for one in acted], [one.norm for one in acted]
    same = max(ratios) - min(ratios) <= SAME * max(ratios)
    return len(acted) >= CONFIRMED and same and max(norms) - min(norms) > 10 * SAME * max(norms)
