"""Weights and optimizer state change only inside optimizer steps.

## The law

What an optimizer step leaves behind is what the next one finds, bit for bit: parameters, momentum, second
moments, step counts.

## What breaks it

Code that writes into weights between two steps; optimizer state scaled or cleared; a `step` put on the
optimizer instance that updates by its own rules and fires no hook; another process writing into memory.

## How it is checked

Before each step a few elements of every parameter, which were read after the step before at places chosen
by a key the program does not have, are read again and compared with what they were; so is the optimizer
state of some tensors, and, every few steps, keyed fingerprints of whole tensors. The step counts that
torch's optimizers keep for each tensor are compared from one look at it to the next: they never go back.
Weights that moved before a backward pass without a step are reported at once when `step` was replaced,
else when the next step record shows that they did not come back. `load_state_dict` explains a change,
which is a note where no checkpoint was read for it; a checkpoint that was merely read in between makes the
finding less certain. What the program writes at several of its first ten steps (a bound on weights, decay
by hand), or at one of them and then at equal distances (slow weights), is its way: a note, and those steps
are not covered. So are weights of tensors into which torch counts a write between all steps from the first
on, though it may change them once and then much later (a bound on norms). A single change in the first
steps is therefore told when it should have come again and did not. Optimizer state that is cleared as a
whole while the rate rises to twice its value or more, as a schedule with restarts has it, is a note; so
are the smallest weights of tensors that are set to zero and, from then on, held there.

A step hook of the program's own (`register_step_post_hook` and the like) runs beside the optimizer's step,
not within it: values are read again on both sides of such hooks, and what they change is told with their
place. What they do at several of the first ten steps is a note, and so is what they do at one of them and
then at equal distances, and a bound that weights meet later, under hooks that were there from the first
steps. Anything else that hooks change is a warning.

## What fools it

Code that changes weights from the first steps on and later changes them more, or that writes them back
unchanged between all steps until it does not. A change undone before the next look. A few elements out of
millions, until a sample or a fingerprint meets them. A change made together with a load. Nothing is compared
across a lost record or from one optimizer object to the next; coverage counts it.

## What to do

Find what runs between the two steps: hooks, callbacks, threads, averaging, clamping. If the program means it,
do it inside the optimizer's `step`. Otherwise go back to the last checkpoint before the first changed step.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

from ....core.coverage import Coverage
from ....core.finding import Evidence, Finding, Location, finding_of
from ....core.observation import (
    CheckpointLoaded,
    HooksMoved,
    Observation,
    OptimizerDeclared,
    StateRestored,
    StepRecord,
    WeightsMoved,
)
from ....core.quantity import quantity
from ....core.rule import Confidence, Rule, Severity
from ...fromguard import FROM_THE_GUARD
from .compare import change_evidence, clamp_bound, common_factor, pruned, zeroed
from .hooked import HookCourses
from .memory import MAX_OPTIMIZERS, Memories, Verdict
from .moves import Movement, Moves, moved_message
from .writing import EARLY, FEW, Judged, Writing, Written

RESTART = "the optimizer's state was cleared as its rate began anew"
BROUGHT = "they were put in by load_state_dict, and no checkpoint was read for it"
PRUNED = "the smallest weights were set to zero, as pruning does"
WRITES = "the program itself writes between steps, and has done so from its first steps on"


@dataclass(frozen=True, slots=True)
class _HeldBack:
    """A finding that waits for a second one; ``weights``: the tensors, if nothing else changed."""

    finding: Finding
    weights: frozenset[int] | None


class WeightsChanged:
    """Compares each step's beginning with the end of the step before, per process and optimizer."""

    rule: ClassVar[Rule] = Rule(
        "continuity-weights-changed",
        "weight-continuity",
        "Weights and optimizer state change only inside optimizer steps",
        Severity.ERROR,
        Confidence.HIGH,
    )
    takes: ClassVar[tuple[type[Observation], ...]] = FROM_THE_GUARD

    def __init__(self) -> None:
        self._coverage = Coverage(self.rule.law, "steps")
        self._memories = Memories()
        self._moves = Moves()
        self._hooks = HookCourses(self.rule)
        self._reported: set[tuple[int, int]] = set()
        self._writings: dict[tuple[int, int], Writing[_HeldBack]] = {}
        self._written: dict[tuple[int, int], Written] = {}
        self._pruned: set[tuple[int, int]] = set()
        self._told: set[tuple[tuple[int, int], str]] = set()

    def observe(self, observation: Observation) -> Iterator[Finding]:
        """Take one observation in."""
        pid = observation.origin.pid
        self._memories.sequence(observation)
        if isinstance(observation, OptimizerDeclared):
            self._memories.declare(observation)
        elif isinstance(observation, (CheckpointLoaded, StateRestored)):
            self._memories.loaded(pid, restored=isinstance(observation, StateRestored))
            self._moves.loaded(pid)
        elif isinstance(observation, WeightsMoved):
            certain = self._moves.moved(observation, self._memories.class_name(pid, observation.optimizer))
            if certain is not None:
                yield from self._moved(certain)
        elif isinstance(observation, HooksMoved):
            self._memories.hooked(observation)
            yield from self._hooks.take(observation, self._memories.names(pid, observation.optimizer))
        elif isinstance(observation, StepRecord):
            verdict = self._memories.step(observation)
            yield from self._stepped(observation, verdict)

    def finish(self) -> Iterator[Finding]:
        """Report movements that no step followed, and what waited to come again."""
        for key, writing in self._writings.items():
            if writing.held is not None:
                yield from self._came_alone(key, writing.held, FEW)
        for movement in self._moves.left():
            yield from self._moved(movement, movement.confidence)

    def coverage(self) -> Coverage:
        """Steps compared with the one before, of those that had one."""
        if not self._coverage.possible and not self._coverage.reasons:
            self._coverage.skip("no optimizer made a second step")
        return self._coverage

    def _stepped(self, record: StepRecord, verdict: Verdict | None) -> Iterator[Finding]:
        pid = record.origin.pid
        written = self._written.get((pid, record.optimizer))
        if written is None and len(self._written) < MAX_OPTIMIZERS:
            written = self._written[pid, record.optimizer] = Written()
        if written is not None:
            written.take(record)
        movement = self._moves.stepped(pid, record.optimizer)
        if verdict is None:
            return
        writing = self._writings.get((pid, record.optimizer))
        overdue = writing.overdue(record.step) if writing is not None else None
        if writing is not None and overdue is not None:
            if self._goes_on(written, overdue, 1) and not self._goes_on(written, overdue, EARLY):
                writing.held = overdue  # it is not yet known whether they are written all the time
            else:
                yield from self._came_alone((pid, record.optimizer), overdue, EARLY)
        self._coverage.count(checked=verdict.checked, reason=verdict.reason)
        if verdict.restored and not verdict.loaded:
            yield from self._brought_in(record, verdict)
        if not verdict.checked or not verdict.broken:
            if movement is not None:
                back = "weights moved between steps and came back" if verdict.checked else verdict.reason
                self._coverage.skip(back)
            return
        yield from self._changed(record, verdict, movement)

    @staticmethod
    def _goes_on(written: Written | None, held: _HeldBack, times: int) -> bool:
        return written is not None and held.weights is not None and written.always(held.weights, times)

    def _came_alone(self, key: tuple[int, int], held: _HeldBack, times: int) -> Iterator[Finding]:
        """A change in the first steps did not come again: a bound that is applied all the time is a note."""
        if self._goes_on(self._written.get(key), held, times):
            yield from self._note(key, held.finding, WRITES)
        elif self._first(*key):
            yield held.finding

    def _note(self, key: tuple[int, int], finding: Finding, why: str) -> Iterator[Finding]:
        if (key, why) not in self._told and len(self._told) < MAX_OPTIMIZERS:
            self._told.add((key, why))
            yield replace(finding, severity=Severity.NOTE, message=f"{finding.message}; {why}")

    def _brought_in(self, record: StepRecord, verdict: Verdict) -> Iterator[Finding]:
        """What was loaded came from the program itself: it is its own affair, and worth a note."""
        key = record.origin.pid, record.optimizer
        yield from self._note(key, self._finding(record, verdict, None), BROUGHT)

    def _changed(self, record: StepRecord, verdict: Verdict, movement: Movement | None) -> Iterator[Finding]:
        key = record.origin.pid, record.optimizer
        finding = self._finding(record, verdict, movement)
        told, first = self._explained(key, verdict), record.step
        if not told:
            judged, first = self._judged(key, record.step, verdict, finding)
            told = WRITES if judged is Judged.HABIT else ""
            if judged is Judged.BREACH and self._first(*key):
                yield finding
        if told:
            self._coverage.checked -= 1
            self._coverage.skip(told)
            yield from self._note(key, replace(finding, first_step=first), told)

    def _explained(self, key: tuple[int, int], verdict: Verdict) -> str:
        """What a single change is by itself, at whatever step it comes; empty when it is nothing known."""
        if verdict.cleared and verdict.restarted:
            return RESTART
        written = self._written.get(key)
        if verdict.fields() == {"param"} and written is not None and written.always(verdict.tensors()):
            return WRITES
        goes_on = key in self._pruned and zeroed(verdict.changes)
        if not goes_on and not pruned(verdict.changes):
            return ""
        if len(self._pruned) < MAX_OPTIMIZERS:
            self._pruned.add(key)
        return PRUNED

    def _judged(
        self, key: tuple[int, int], step: int, verdict: Verdict, finding: Finding
    ) -> tuple[Judged, int]:
        if key not in self._writings and len(self._writings) >= MAX_OPTIMIZERS:
            return Judged.BREACH, step
        writing = self._writings.setdefault(key, Writing())
        fields = verdict.fields()
        weights = frozenset(verdict.tensors()) if fields == {"param"} else None
        return writing.judge(step, fields, _HeldBack(finding, weights)), writing.first

    def _finding(self, record: StepRecord, verdict: Verdict, movement: Movement | None) -> Finding:
        names = self._memories.names(record.origin.pid, record.optimizer)
        factor, bound = common_factor(verdict.changes), clamp_bound(verdict.changes)
        evidence = [*change_evidence(verdict.changes, names), *verdict.fingers(names)]
        if factor:
            evidence.insert(0, Evidence("all changed elements", "unchanged", factor))
        if movement is not None:
            evidence.append(Evidence("seen before the step", observed=moved_message(movement)))
        tail = f": all sampled elements that changed were {factor}" if factor else ""
        if bound is not None:
            tail = f": weights are clamped to ±{bound:.6g}"
        since = record.step - 1 if verdict.since is None else verdict.since
        tail = ": step counts went back" if verdict.since is not None else tail
        return finding_of(
            self.rule,
            verdict.subject(names),
            f"{verdict.what()} changed between step {since} and step {record.step}{tail}",
            rank=record.origin.rank,
            first_step=record.step,
            evidence=tuple(evidence),
            # The program may have put what it read in place by itself, or have read it as a pretext.
            confidence=Confidence.MEDIUM if verdict.loaded else None,
        )

    def _moved(self, movement: Movement, confidence: Confidence | None = None) -> Iterator[Finding]:
        seen = movement.first
        if not self._first(seen.origin.pid, seen.optimizer):
            return
        names = self._memories.names(seen.origin.pid, seen.optimizer)
        some = ", ".join(names[place] for place in seen.tensors[:5] if 0 <= place < len(names))
        yield finding_of(
            self.rule,
            f"parameters of optimizer {seen.optimizer}",
            moved_message(movement),
            rank=seen.origin.rank,
            first_step=seen.after_step + 1,
            locations=(Location(seen.path, seen.line),) if seen.step_replaced and seen.path else (),
            evidence=(
                Evidence(
                    f"{quantity(seen.compared, 'element')} compared", "unchanged", f"changed, among {some}"
                ),
            ),
            confidence=confidence,
        )

    def _first(self, pid: int, optimizer: int) -> bool:
        known = (pid, optimizer) in self._reported or len(self._reported) >= 1024
        self._reported.add((pid, optimizer))
        return not known
