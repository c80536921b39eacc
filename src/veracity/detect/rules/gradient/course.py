"""The way of one optimizer's gradients, step after step: what the program always does, and what is new.

Programs may change gradients between the backward pass and the step in ways that nothing declares. What one
does from its first steps on is its habit: a constant factor is taken into account, anything else leaves the
law without coverage. Only when several steps in a row were explained is a step judged that is not.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from math import isfinite

from ....core.rule import Severity
from .links import Comparison, Format, Part, chance, ratio_of, shrunk, tallied, words_of, zeroed

FIRST_STEPS = 3
AFTER_A_BREAK = 20
SHORT = 5
UNLIKELY = 1e-4
GONE = 1e-3
MAX_TALLIED = 20_000
# So often must one factor come, for gradients of different size, to be no clipping of a norm.
REPEATED = 3
SIZES_APART = 0.02
# Half a unit in the last place, relative, up to which a factor is known well enough to be called the same.
PRECISE = 2.0**-20
MAIN = 1e-3
# So many times the largest of so many before, losses and gradients are such as programs pass over.
LARGER_LOSS = 1.2
LARGER = 2.0
RECENT = 16
# Gradients come in spikes: so many of the recent ones may have been some.
EARLIER_SPIKES = 2

HABIT = "the program changes gradients between the backward pass and the step in a way that nothing declares"
VARYING = "the program scales its gradients by a factor that changes from step to step"
SCALED = "the program scales all gradients down by itself, as clipping of its own does"
NEW = "gradients changed at so few elements that it may be a habit of the program"
GIVEN_UP = "they were set to None, and were there again a few steps later"
BEGINNING = "the first steps show what the program always does"
BLANK = "no gradient of the sampled elements could show a change"


@dataclass(frozen=True, slots=True)
class Broken:
    """Something to tell: since which step, of which tensors, how bad."""

    step: int
    comparison: Comparison
    words: str
    severity: Severity = Severity.ERROR
    lasting: bool = False


@dataclass(frozen=True, slots=True)
class _Weakened:
    """Tensors whose gradients were made smaller once, and by which factor."""

    step: int
    ratio: float | None
    comparison: Comparison


@dataclass(slots=True)
class _Pending:
    """A change that is sabotage if it goes away again, and a new phase of the program if it stays.

    ``since`` counts elements of the same tensors that were as usual in later steps.
    """

    step: int
    comparison: Comparison
    everywhere: bool
    at_pass: bool
    length: int = 1
    since: int = 0
    hole: bool = False

    @property
    def tensors(self) -> set[int]:
        """Those that were changed."""
        return {part.tensor for part in self.comparison.changed}

    @property
    def by_element(self) -> bool:
        """Whether elements were changed among others of the same tensors: no layer is frozen so."""
        return any(part.same for part in self.comparison.changed)

    def over(self) -> bool:
        """Whether so many elements as usual would hardly be met if the same share were still changed."""
        affected = sum(len(part.pairs) for part in self.comparison.changed)
        usual = sum(part.same for part in self.comparison.changed)
        return self.since > 0 and chance(self.since, self.since, usual, affected + usual) < GONE


@dataclass(slots=True)
class Course:
    """What is known of one optimizer of one process."""

    factors: dict[int, float] = field(default_factory=dict)
    streak: int = 0
    needed: int = FIRST_STEPS
    explained: int = 0
    reason: str = BEGINNING
    tally: dict[int, list[int]] = field(default_factory=dict)
    masked: set[int] = field(default_factory=set)
    pending: _Pending | None = None
    weakened: dict[tuple[int, ...], _Weakened | None] = field(default_factory=dict)
    given_up: dict[int, tuple[int, Part, bool]] = field(default_factory=dict)
    losses: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT))
    sizes: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT))
    spike: bool = False
    scales: bool = False
    scaled: list[_Weakened] = field(default_factory=list)
    told: bool = False
    at_pass: bool = False
    before: int = -1
    last: int = -1

    def hole(self) -> None:
        """Steps were not looked at: how long what is under watch has lasted cannot be counted."""
        if self.pending is not None:
            self.pending.hole = True

    def take(
        self,
        step: int,
        link: int,
        comparison: Comparison,
        rounding: Format,
        *,
        at_pass: bool = False,
        loss: float | None = None,
        size: float = 0.0,
    ) -> Iterator[Broken]:
        """Take in a step: the comparison of its first link that changed, or of its last one.

        ``at_pass``: it is the first of a pass over a loader, where a new phase may begin. ``loss`` is that of
        its last backward pass, ``size`` the norm of the gradients that it left, as sampled. ``reason``
        says afterwards why the step was not judged; empty when it was.
        """
        self.at_pass = at_pass
        larger = _above(loss or 0.0, self.losses, LARGER_LOSS)
        self.spike = _above(size, self.sizes, LARGER, EARLIER_SPIKES) or larger
        self.before, self.last = self.last, step
        self._leave_out(comparison)
        yield from self._given_up(step, comparison)
        if self.pending is not None:
            yield from self._resolve(self.pending, comparison)
        if not comparison.changed:
            yield from self._as_usual(step, comparison)
        elif self.streak < self.needed:
            self._learn(link, comparison, rounding)
        else:
            self.reason = ""
            yield from self._judge(step, comparison, rounding)
            self._count(comparison)

    def left(self) -> Iterator[Broken]:
        """The run is over while a change was still on."""
        if self.pending is not None:
            yield self._lasting(self.pending)

    # --- what is usual ---------------------------------------------------------------------------

    def _as_usual(self, step: int, comparison: Comparison) -> Iterator[Broken]:
        if not any(part.same for part in comparison.parts.values()):
            self.reason = BLANK
            return
        self.streak += 1
        self.explained += 1
        self._count(comparison)
        self.reason = ""
        if self.factors and self.streak == FIRST_STEPS and not self.told:
            self.told = True
            factors = ", ".join(f"{factor:.6g}" for factor in self.factors.values())
            words = f"from the first step on the program multiplies all of them by {factors}"
            yield Broken(step, comparison, words, Severity.NOTE)

    def _learn(self, link: int, comparison: Comparison, rounding: Format) -> None:
        """Before there is a baseline."""
        ratio = ratio_of(comparison.pairs, rounding) if comparison.everywhere else None
        if ratio is not None and ratio > 0.0 and not self.explained:
            self.factors[link] = ratio
            self.streak = self.explained = 1
            self.reason = BEGINNING
            return
        self.streak, self.needed, self.factors = 0, AFTER_A_BREAK, {}
        self.reason = VARYING if ratio is not None else HABIT

    def _count(self, comparison: Comparison) -> None:
        for part in comparison.parts.values():
            if len(self.tally) < MAX_TALLIED or part.tensor in self.tally:
                counts = self.tally.setdefault(part.tensor, [0, 0])
                counts[0] += len(part.pairs)
                counts[1] += len(part.pairs) + part.same

    def _leave_out(self, comparison: Comparison) -> None:
        """Tensors that the program has held at zero for long, wholly or by a mask, may stay so."""
        for tensor in self.masked & comparison.parts.keys():
            part = comparison.parts[tensor]
            if zeroed(part.pairs):
                comparison.parts[tensor] = replace(part, pairs=())

    def _given_up(self, step: int, comparison: Comparison) -> Iterator[Broken]:
        """A gradient set to None freezes a tensor; one that is back in no time was left out of some steps."""
        back = self.given_up.keys() & comparison.parts.keys()
        for tensor in sorted(back):
            since, part, passed_over = self.given_up.pop(tensor)
            if step - since < SHORT and self.streak >= self.needed:
                severity = Severity.NOTE if passed_over else Severity.WARNING
                yield Broken(since, Comparison({tensor: part}), GIVEN_UP, severity)
        for tensor, part in comparison.given_up.items():
            if tensor not in self.given_up and len(self.given_up) < MAX_TALLIED:
                # In the first steps it is a habit, which is told apart by never being short.
                since = step if self.streak >= self.needed else step - AFTER_A_BREAK
                # Without any gradient the step does nothing: programs pass over a batch so.
                self.given_up[tensor] = since, part, self.spike and not comparison.parts

    # --- what is not -----------------------------------------------------------------------------

    def _resolve(self, pending: _Pending, comparison: Comparison) -> Iterator[Broken]:
        """Is the change that is under watch still there?"""
        if pending.everywhere:
            if not any(part.pairs or part.same for part in comparison.parts.values()):
                return
            if comparison.everywhere and comparison.changed:
                pending.length += 1
            else:
                self.pending = None
                yield self._lasting(pending) if pending.hole else Broken(pending.step, pending.comparison, "")
                return
        else:
            parts = [comparison.parts[at] for at in pending.tensors & comparison.parts.keys()]
            there = [part for part in parts if part.pairs and zeroed(part.pairs)]
            pending.length += bool(there)
            pending.since = 0 if there else pending.since + sum(part.same for part in parts)
            for part in there:
                comparison.parts[part.tensor] = replace(part, pairs=())
            if pending.over():
                self.pending = None
                yield self._lasting(pending) if pending.hole else Broken(pending.step, pending.comparison, "")
                return
        if pending.length >= SHORT:
            self.pending = None
            yield self._lasting(pending)
            if pending.everywhere:
                self.streak, self.needed, self.reason = 0, AFTER_A_BREAK, HABIT
            else:
                self.masked |= pending.tensors

    def _judge(self, step: int, comparison: Comparison, rounding: Format) -> Iterator[Broken]:
        pairs = comparison.pairs
        ratio = ratio_of(pairs, rounding)
        if len(pairs) < 2:
            self.reason = NEW
        elif comparison.everywhere:
            yield from self._everywhere(step, comparison, ratio, rounding)
        elif not any(self.tally.get(part.tensor, (0, 0))[1] for part in comparison.changed):
            self._thawed(step, comparison, ratio)
        elif not self._unlikely(comparison, ratio):
            self.reason = NEW
        elif zeroed(pairs):
            self.pending = self.pending or _Pending(step, comparison, False, self.at_pass)
        elif shrunk(pairs):
            yield from self._weakened(step, comparison, ratio, rounding)
        else:
            yield Broken(step, comparison, "")

    def _thawed(self, step: int, comparison: Comparison, ratio: float | None) -> None:
        """These tensors have no gradient but since now: what is done to it may be clipping by their norm."""
        self.reason = NEW
        if shrunk(comparison.pairs) and len(self.weakened) < MAX_TALLIED:
            self.weakened.setdefault(_key(comparison), _Weakened(step, ratio, comparison))

    def _everywhere(
        self, step: int, comparison: Comparison, ratio: float | None, rounding: Format
    ) -> Iterator[Broken]:
        """All gradients are others."""
        if self.pending is not None:
            self.reason = HABIT
        elif ratio is not None and ratio < 0.0:
            yield Broken(step, comparison, "")
        elif ratio is not None and ratio > 0.0 and self.factors:
            self.reason = VARYING
        elif ratio is not None and (ratio == 0.0 or ratio > 1.0):
            # A batch that is skipped by zeros, or weighted by its length: a program may do that.
            passed_over = ratio == 0.0 and self.spike
            yield Broken(step, comparison, "", Severity.NOTE if passed_over else Severity.WARNING)
        elif shrunk(comparison.pairs):
            self.reason = SCALED
            if not self.scales:
                self.scales = True
                yield Broken(step, comparison, "", Severity.NOTE)
            yield from self._scaled(_Weakened(step, _main_ratio(comparison, rounding), comparison), rounding)
        else:
            self.pending = _Pending(step, comparison, True, self.at_pass)

    def _scaled(self, event: _Weakened, rounding: Format) -> Iterator[Broken]:
        """All gradients were made smaller: by one factor again and again, for gradients of different size?

        What clips a norm has another factor for each; a program's own scale is there from its first step.
        """
        if rounding.unit > PRECISE:
            return  # factors near each other cannot be told apart
        ratio = event.ratio
        if ratio is None or (
            self.scaled and abs(ratio - (self.scaled[-1].ratio or 0)) > _slack(ratio, rounding)
        ):
            self.scaled = []
        if ratio is None or len(self.scaled) >= REPEATED:
            return
        self.scaled.append(event)
        sizes = [max(abs(due) for due, _ in one.comparison.pairs) for one in self.scaled]
        if len(self.scaled) == REPEATED and max(sizes) - min(sizes) > SIZES_APART * max(sizes):
            first = self.scaled[0]
            words = f"multiplied by {ratio:.6g}, as at {REPEATED - 1} later steps"
            yield Broken(first.step, first.comparison, words, Severity.WARNING)

    @staticmethod
    def _lasting(pending: _Pending) -> Broken:
        phase = not pending.everywhere and (pending.at_pass or not pending.by_element)
        severity = Severity.NOTE if phase else Severity.WARNING
        return Broken(pending.step, pending.comparison, "", severity, lasting=True)

    def _weakened(
        self, step: int, comparison: Comparison, ratio: float | None, rounding: Format
    ) -> Iterator[Broken]:
        """Some tensors' gradients are smaller: clipping tensor by tensor does that, by another factor each
        time, and a program that lowers them for good does it at every step.
        """
        key = _key(comparison)
        if key not in self.weakened:
            if len(self.weakened) < MAX_TALLIED:
                self.weakened[key] = _Weakened(step, ratio, comparison)
            yield Broken(step, comparison, "", Severity.WARNING)
            return
        known, self.weakened[key] = self.weakened[key], None
        if known is None or known.ratio is None or ratio is None or known.step == self.before:
            return
        if abs(ratio - known.ratio) <= _slack(known.ratio, rounding):
            yield Broken(known.step, known.comparison, "")

    def _unlikely(self, comparison: Comparison, ratio: float | None) -> bool:
        """Whether this cannot be a habit that concerns a few elements and was not met before."""
        if ratio is not None and all(part.whole for part in comparison.changed):
            return len(comparison.pairs) > (1 if ratio < 0.0 else 2)
        likely = 1.0
        for part in comparison.changed:
            likely *= chance(len(part.pairs), len(part.pairs) + part.same, *tallied(self.tally, part.tensor))
        return likely < UNLIKELY


def _key(comparison: Comparison) -> tuple[int, ...]:
    """The tensors that changed."""
    return tuple(sorted(part.tensor for part in comparison.changed))


def _above(value: float, recent: deque[float], times: float, but: int = 0) -> bool:
    """Whether a value is so many times larger than all recent ones ``but`` so many, and joins them."""
    but = but if len(recent) == recent.maxlen else 0
    above = bool(recent) and abs(value) > times * sorted(recent)[-1 - but]
    if isfinite(value):
        recent.append(abs(value))
    return above


def _main_ratio(comparison: Comparison, rounding: Format) -> float | None:
    """The factor on all elements but the smallest, of which rounding leaves little."""
    pairs = comparison.pairs
    least = max(abs(due) for due, _ in pairs) * MAIN
    return ratio_of([(due, seen) for due, seen in pairs if abs(due) >= least], rounding)


def _slack(ratio: float, rounding: Format) -> float:
    """How far rounding can move a factor."""
    return 64.0 * rounding.unit * ratio


def told(broken: Broken, rounding: Format) -> str:
    """The words for it."""
    return broken.words or words_of(broken.comparison, rounding)
