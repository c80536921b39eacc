"""What a program multiplies its losses by before their backward passes: now, and at its steps so far."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import frexp, isfinite
from statistics import median

from ....core.gradients import AGAIN, KEPT, NO_GRADIENTS, Gradients, Reading
from ....core.observation import BackwardRoot, StepRecord

MAX_FACTORS = 8
MAX_KINDS = 16
MAX_PLACES = 256
MAX_RATIOS = 64
LEAST_RATIOS = 4
LOSSES = 16
SAME = 1e-6
EVEN = 0.02
SPIKE = 1.2
LOSS_SCALE = 16.0


@dataclass(frozen=True, slots=True)
class Pass:
    """One backward pass: the product of its factors, and the way on which they were met."""

    factor: float
    way: BackwardRoot

    @property
    def base(self) -> str:
        """The kind of node that the factors end at: passes with the same one are compared."""
        return self.way.base


def joined(passes: Sequence[Pass], starts: str) -> list[Pass]:
    """Passes of one step; those that went back from one loss more than once are one, their factors added.

    ``starts`` are the letters for what each pass found. What an earlier pass had brought must still be there:
    programs look at a loss' gradient, throw it away and begin again.
    """
    if len(starts) != len(passes):
        return list(passes)
    found: list[Pass] = []
    for one, start in zip(passes, starts, strict=True):
        before = next((at for at in reversed(range(len(found))) if found[at].base == one.base), -1)
        if AGAIN in one.way.nodes and start == KEPT and before >= 0:
            found[before] = Pass(found[before].factor + one.factor, one.way)
        else:
            found.append(one)
    return found


@dataclass(slots=True)
class Habit:
    """What one optimizer's losses were multiplied by so far.

    ``factors`` are by the kind of node, None once they vary; ``sums`` are those over the passes of a step.
    ``places`` are where ``backward`` was called, ``shapes`` the nodes that multiplied. ``losses`` are the
    last ones as they were before factors, ``gradients`` those of the last step.
    """

    steps: int = 0
    factors: dict[str, list[float] | None] = field(default_factory=dict)
    sums: list[float] = field(default_factory=list)
    places: set[tuple[str, int]] = field(default_factory=set)
    shapes: set[tuple[str, ...]] = field(default_factory=set)
    losses: deque[float] = field(default_factory=lambda: deque(maxlen=LOSSES))
    gradients: Gradients = NO_GRADIENTS

    def take(self, passes: Sequence[Pass]) -> None:
        """These factors are the program's own."""
        for one in passes:
            if len(self.places) < MAX_PLACES:
                self.places.add((one.way.path, one.way.line))
                self.shapes.add(_shape(one))
            if one.base not in self.factors and len(self.factors) >= MAX_KINDS:
                continue
            known = self.factors.setdefault(one.base, [])
            if known is not None and not among(one.factor, known):
                known.append(one.factor)
                if len(known) > MAX_FACTORS:
                    self.vary(one.base)
        total = sum(one.factor for one in passes)
        if not among(total, self.sums) and len(self.sums) < MAX_FACTORS:
            self.sums.append(total)

    def follow(self, passes: Sequence[Pass], step: StepRecord) -> None:
        """One more step with factors that are known."""
        self.steps += 1
        self.gradients = step.gradients
        loss = _bare(step, passes[-1])
        if loss is not None:
            self.losses.append(loss)

    def vary(self, base: str) -> None:
        """Factors that end at this kind of node are other ones all the time."""
        self.factors[base] = None

    def usual(self, one: Pass) -> list[float]:
        """The factors that passes like this one had."""
        return self.factors.get(one.base) or []

    def stranger(self, passes: Sequence[Pass]) -> Pass | None:
        """The first of a step's passes that the habit does not know; one with a new factor before others."""
        if among(sum(one.factor for one in passes), self.sums):
            return None
        new = [one for one in passes if not self._knows(one)]
        return next((one for one in new if one.base in self.factors), new[0] if new else None)

    def is_between(self, way: BackwardRoot) -> bool:
        """Whether a function has come between the usual place and ``backward``."""
        return (way.path, way.line) not in self.places and (way.via_path, way.via_line) in self.places

    def is_elsewhere(self, way: BackwardRoot) -> bool:
        """Whether ``backward`` is called at a place of its own."""
        return (way.path, way.line) not in self.places and not self.is_between(way)

    def is_another_count(self, one: Pass) -> bool:
        """Whether a loss that was always divided by a whole number is divided by another one."""
        return _is_count(one.factor) and any(map(_is_count, self.usual(one))) and self.has_shape(one)

    def has_shape(self, one: Pass) -> bool:
        """Whether as many numbers were multiplied by before, in the same way."""
        return _shape(one) in self.shapes

    def is_another_scale(self, one: Pass) -> bool:
        """Whether it looks like a loss scale that was doubled or halved."""
        usual = self.usual(one)
        return bool(usual) and max(usual) >= LOSS_SCALE and _is_power_of_two(one.factor, usual)

    def is_spike(self, last: Pass, step: StepRecord) -> bool:
        """Whether the loss itself was larger than any lately: programs take such a batch for less."""
        loss = _bare(step, last)
        return loss is not None and bool(self.losses) and loss > SPIKE * max(self.losses)

    def is_divided_out(self, one: Pass, gradients: Gradients) -> bool:
        """Whether what comes to the step is as ever, since the gradients were divided by what is new."""
        usual = self.usual(one)
        if not usual:
            return False
        now, before = _divided(gradients), _divided(self.gradients)
        if now is None or before is None:
            return _is_power_of_two(one.factor, usual)
        came = one.factor * now
        return now != before and any(abs(came - factor * before) <= EVEN * abs(came) for factor in usual)

    def _knows(self, one: Pass) -> bool:
        known = self.factors.get(one.base, [])
        return known is None or among(one.factor, known)


def among(value: float, known: Sequence[float]) -> bool:
    """Whether it is one of these, but for rounding."""
    return any(abs(value - one) <= SAME * max(abs(value), abs(one)) for one in known)


def _bare(step: StepRecord, last: Pass) -> float | None:
    """The last pass' loss without its factors and a GradScaler's scale."""
    scale = step.scale if step.scaled else 1.0
    for event in step.gradients.events:
        scale = event.limit if event.kind == "unscale" else scale
    if step.loss is None or not last.factor or not scale:
        return None
    loss = abs(step.loss / (last.factor * scale))
    return loss if isfinite(loss) else None


def _shape(one: Pass) -> tuple[str, ...]:
    return (*one.way.nodes, one.base)


def _is_count(factor: float) -> bool:
    return 0.0 < factor < 1.0 and abs(1.0 / factor - round(1.0 / factor)) <= SAME


def _is_power_of_two(factor: float, usual: Sequence[float]) -> bool:
    return any(one and abs(frexp(factor / one)[0]) == 0.5 for one in usual)


def _divided(gradients: Gradients) -> float | None:
    """By what the gradients were multiplied between the calls that clip and unscale; None: unevenly."""
    if gradients.raw < 0 or gradients.cut:
        return None
    ends = [gradients.raw, *(end for event in gradients.events for end in (event.before, event.after))]
    ends.append(gradients.taken)
    factor = 1.0
    for was, now in zip(ends[::2], ends[1::2], strict=True):
        if was != now:
            ratio = _ratio(gradients.readings[was], gradients.readings[now])
            if ratio is None:
                return None
            factor *= ratio
    return factor


def _ratio(was: Reading, now: Reading) -> float | None:
    """By what nearly all elements were multiplied."""
    before = was.by_tensor()
    ratios: list[float] = []
    for tensor, values in now.by_tensor().items():
        pairs = zip(before.get(tensor, ()), values, strict=False)
        ratios += [late / early for early, late in pairs if early and isfinite(early) and isfinite(late)]
        if len(ratios) >= MAX_RATIOS:
            break
    if len(ratios) < LEAST_RATIOS:
        return None
    middle = median(ratios)
    even = sum(abs(ratio - middle) <= EVEN * abs(middle) for ratio in ratios)
    return middle if even >= 0.9 * len(ratios) else None
