"""Clipping does something else than to clip.

## The law

`clip_grad_norm_` multiplies every gradient it is given by min(1, max_norm / (norm + 1e-6)), where norm is
the norm of all of them together, which it returns; `clip_grad_value_` holds every element within ± its limit.

## What breaks it

An edited or replaced clipping function: it amplifies, clips to another norm, leaves gradients out, or returns
a norm that is not theirs.

## How it is checked

A few elements of every gradient are read right before and right after each call. The factor is computed again
from the returned norm; products may be four units in the last place of the gradients' format away. At the
first calls and about every eighth later one, at steps the program cannot know, the guard computes the norm
itself (order 2 and infinity): squares of n elements added in float32 make an error of about √n units in the
last place, and eight times as much is allowed (Higham and Mary, *SIAM J. Sci. Comput.* 41, 2019: the chance
of more is below 1e-13), or 1e-4 if that is more. A limit that changes after ten steps with one and the
same, or other calls than before each of ten steps (none, or one more), are warnings: programs may do that.

## What fools it

Clipping by the program's own code, which nobody declared. A tensor handed over twice is clipped twice, so
such calls are not judged; nor are gradients whose norm is not finite, or sharded ones. More than four calls
before a step are not followed. A wrong norm between two looks of the guard, if gradients are scaled by it.

## What to do

Compare `torch/nn/utils/clip_grad.py` with its distribution, and look for code that replaces the function.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf, isfinite, sqrt
from typing import ClassVar

from ....core.contract import TensorDeclaration
from ....core.coverage import Coverage
from ....core.finding import Evidence, Finding, finding_of
from ....core.gradients import GradientEvent
from ....core.observation import Observation, OptimizerDeclared, StepRecord
from ....core.rule import Confidence, Rule, Severity
from .links import Comparison, Format, clamped, compare, named, ratio_of, words_of

MAX_OPTIMIZERS = 4096
SHOWN = 4
SETTLED = 10
NEVER = "gradients were never clipped by torch's own functions"


@dataclass(slots=True)
class _Habit:
    """Which calls came before each of how many steps in a row, and with which limit the first of them."""

    calls: tuple[tuple[str, bool], ...] = ()
    steps: int = 0
    limit: float = 0.0
    alike: int = 0


class Clipping:
    """Judges each call of a clipping function by the readings on both sides of it."""

    rule: ClassVar[Rule] = Rule(
        "gradient-clipping",
        "clipping",
        "Clipping does something else than to clip",
        Severity.ERROR,
        Confidence.HIGH,
    )
    takes: ClassVar[tuple[type[Observation], ...]] = (OptimizerDeclared, StepRecord)

    def __init__(self) -> None:
        self._coverage = Coverage(self.rule.law, "calls")
        self._declared: dict[tuple[int, int], list[TensorDeclaration]] = {}
        self._habits: dict[tuple[int, int], _Habit] = {}
        self._reported: set[tuple[int, int, str]] = set()

    def observe(self, observation: Observation) -> Iterator[Finding]:
        """Each kind of finding once per optimizer and process."""
        pid = observation.origin.pid
        if isinstance(observation, OptimizerDeclared):
            key = pid, observation.optimizer.index
            if key in self._declared or len(self._declared) < MAX_OPTIMIZERS:
                self._declared[key] = observation.optimizer.tensors
        elif isinstance(observation, StepRecord) and (pid, observation.optimizer) in self._declared:
            for kind, finding in self._step((pid, observation.optimizer), observation):
                key_of_kind = pid, observation.optimizer, kind
                if key_of_kind not in self._reported:
                    self._reported.add(key_of_kind)
                    yield finding

    def finish(self) -> Iterator[Finding]:
        """Nothing is left for the end."""
        yield from ()

    def coverage(self) -> Coverage:
        """Calls whose effect on the sampled elements could be checked."""
        if not self._coverage.possible and not self._coverage.reasons:
            self._coverage.skip(NEVER)
        return self._coverage

    def _step(self, key: tuple[int, int], step: StepRecord) -> Iterator[tuple[str, Finding]]:
        gradients = step.gradients
        between = gradients.between.events if gradients.between is not None else ()
        events = [event for event in (*between, *gradients.events) if event.kind in ("norm", "value")]
        rounding = Format.of(self._declared[key])
        for event in events:
            comparison, reason = self._compared(key, step, event, rounding)
            self._coverage.count(checked=comparison is not None, reason=reason)
            if comparison is not None and comparison.changed:
                yield "effect", self._effect(key, step, event, comparison, rounding)
            if _norm_is_another(event, rounding):
                yield "norm", self._norm(key, step, event)
        if gradients.cut:
            self._coverage.count(checked=False, reason="more calls came before a step than are followed")
        elif gradients.taken >= 0:
            yield from self._habit(key, step, events)

    def _compared(
        self, key: tuple[int, int], step: StepRecord, event: GradientEvent, rounding: Format
    ) -> tuple[Comparison | None, str]:
        """What a call did against what it must do, or why that cannot be said."""
        readings = step.gradients.readings
        was, now = readings[event.before], readings[event.after]
        outside = frozenset(event.outside)
        numels = [tensor.numel for tensor in self._declared[key]]
        if event.kind == "value":
            result = clamped(was, now, event.limit, outside)
        elif event.norm is None or not isfinite(event.norm) or event.norm < 0.0:
            return None, "the gradients' norm is not finite"
        elif event.repeated:
            return None, "a tensor was handed to the clipping function twice"
        else:
            factor = factor_of(event.limit, event.norm)
            result = compare(was, now, numels, rounding, lambda at: 1.0 if at in outside else factor)
        if not any(part.same or part.pairs for part in result.parts.values()):
            return None, "no gradient of the sampled elements could show what clipping did"
        return result, ""

    def _effect(
        self,
        key: tuple[int, int],
        step: StepRecord,
        event: GradientEvent,
        comparison: Comparison,
        rounding: Format,
    ) -> Finding:
        declared = self._declared[key]
        readings = step.gradients.readings
        changed = comparison.changed
        which = "all tensors" if comparison.everywhere else named([part.tensor for part in changed], declared)
        if event.kind == "value":
            due, done = f"values within ±{event.limit:.6g}", words_of(comparison, rounding)
        else:
            norm = event.norm if event.norm is not None else 0.0
            factor = factor_of(event.limit, norm)
            due = f"{factor:.9g} (max_norm {event.limit:.6g}, norm {norm:.6g})"
            numels = [tensor.numel for tensor in declared]
            whole = compare(readings[event.before], readings[event.after], numels, rounding)
            seen = ratio_of([pair for part in changed for pair in whole.parts[part.tensor].pairs], rounding)
            done = (
                f"they were multiplied by {seen:.6g}" if seen is not None else words_of(comparison, rounding)
            )
            if seen is not None and abs(seen) > 1.0:
                done += ", so clipping amplifies"
        return finding_of(
            self.rule,
            f"clipping of optimizer {key[1]}: {which}",
            f"step {step.step}: clipping did not clip the gradients of {which}: due was {due}; {done}",
            rank=step.origin.rank,
            first_step=step.step,
            evidence=tuple(
                Evidence(
                    f"gradient of {named([part.tensor], declared)} after clipping, sampled elements",
                    expected=", ".join(f"{pair[0]:.9g}" for pair in part.pairs[:SHOWN]),
                    observed=", ".join(f"{pair[1]:.9g}" for pair in part.pairs[:SHOWN]),
                )
                for part in changed[:SHOWN]
            ),
        )

    def _norm(self, key: tuple[int, int], step: StepRecord, event: GradientEvent) -> Finding:
        return finding_of(
            self.rule,
            f"norm of the gradients of optimizer {key[1]}",
            f"step {step.step}: clip_grad_norm_ returned {event.norm:.9g}; the norm of these gradients is "
            f"{event.own:.9g}",
            rank=step.origin.rank,
            first_step=step.step,
            evidence=(Evidence("norm", expected=f"{event.own:.9g}", observed=f"{event.norm:.9g}"),),
        )

    def _habit(
        self, key: tuple[int, int], step: StepRecord, events: Sequence[GradientEvent]
    ) -> Iterator[tuple[str, Finding]]:
        """A step that is clipped otherwise than many before it that were alike."""
        if step.gradients.raw < 0:
            return  # without a backward pass of its own it may need no clipping
        habit = self._habits.setdefault(key, _Habit())
        calls = tuple((event.kind, bool(event.outside)) for event in events)
        limit = events[0].limit if events else 0.0
        if calls != habit.calls:
            if habit.steps >= SETTLED:
                yield "calls", self._warning(key, step, _told(habit.calls), _told(calls), habit.steps)
            self._habits[key] = _Habit(calls, 1, limit, 1)
            return
        habit.steps += 1
        if limit != habit.limit:
            if habit.alike >= SETTLED:
                yield (
                    "limit",
                    self._warning(key, step, f"to {habit.limit:.6g}", f"to {limit:.6g}", habit.alike),
                )
            habit.limit, habit.alike = limit, 0
        habit.alike += 1

    def _warning(self, key: tuple[int, int], step: StepRecord, was: str, now: str, times: int) -> Finding:
        return finding_of(
            self.rule,
            f"clipping of optimizer {key[1]}",
            f"step {step.step}: gradients were clipped {now}; before each of the {times} steps before {was}",
            rank=step.origin.rank,
            first_step=step.step,
            severity=Severity.WARNING,
            confidence=Confidence.MEDIUM,
        )


def _told(calls: tuple[tuple[str, bool], ...]) -> str:
    """How a step's gradients were clipped."""
    words = [f"by {kind}" + (" in some tensors" if partly else "") for kind, partly in calls]
    return " and ".join(words) or "not at all"


def factor_of(max_norm: float, norm: float) -> float:
    """What ``clip_grad_norm_`` must multiply by; a negative ``max_norm`` is none."""
    return max(0.0, min(1.0, max_norm / (norm + 1e-6)))


def _norm_is_another(event: GradientEvent, rounding: Format) -> bool:
    """Whether the returned norm is not that of the gradients."""
    own, norm = event.own, event.norm
    if own is None or norm is None or not (isfinite(own) and isfinite(norm)):
        return False
    sums = 1e-4 if event.norm_type != inf else 0.0
    if event.norm_type != inf:
        sums = max(sums, 8.0 * sqrt(event.largest) * 2.0**-24)
    allowed = sums + 4.0 * rounding.unit
    return abs(norm - own) > allowed * own + rounding.smallest
