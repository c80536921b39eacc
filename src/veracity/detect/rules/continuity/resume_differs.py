"""A resumed run goes on with what its checkpoint held.

## The law

At the first step after a checkpoint was loaded, parameters and optimizer state in memory are those of the
object that `torch.load` returned.

## What breaks it

Code between load and first step that scales or overwrites weights; a `load_state_dict` that drops or alters
entries; optimizer state that is cleared, or restored from another file than it seems.

## How it is checked

At that step the digests of all parameters (by name, prefixes of wrappers removed) and of all optimizer
state (by index) are compared with those of the loaded tensors. One loaded namesake that agrees is enough.
When both a module and its optimizer were loaded the run is a resume and a difference an error; when only a
module was, it may be surgery for fine-tuning and is a warning, given that some of the module's tensors did
arrive; a note where several files held other values of each tensor that differs, as when checkpoints are
averaged. Where module and scheduler were both loaded and the optimizer began without the state that the
file held for it, that is a warning too: a fresh optimizer on an old schedule is no resume. Of a checkpoint
that `torch.distributed.checkpoint` read each rank compares the parts that it holds, by whatever number of
ranks it was written.

## What fools it

Tensors that are loaded under other names, or converted to another type or shape: not compared. A second
checkpoint that is read as well, where no optimizer is loaded: what differs from both is a note. Changes
made before `torch.load` returned (see `continuity-load-differs`). A step between load and restore: what is
restored then may come from memory as well, and is not compared.

## What to do

Look at what runs between load and first step. A resumed run that differs from its checkpoint is another run.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from ....core.coverage import Coverage
from ....core.finding import Evidence, Finding, Location, finding_of
from ....core.observation import (
    CheckpointLoaded,
    Observation,
    OptimizerDeclared,
    SchedulerDeclared,
    StateRestored,
    StepRecord,
    StepsPassed,
)
from ....core.rule import Confidence, Rule, Severity
from .naming import listed, tensor_evidence
from .restored import Comparison, Resume, Resumes, compare_parameters, compare_state

MAX_FINDINGS = 256


class ResumeDiffers:
    """Compares memory at the first step after a load with what was loaded."""

    rule: ClassVar[Rule] = Rule(
        "continuity-resume-differs",
        "weight-continuity",
        "A resumed run goes on with what its checkpoint held",
        Severity.ERROR,
        Confidence.HIGH,
    )
    takes: ClassVar[tuple[type[Observation], ...]] = (
        CheckpointLoaded,
        OptimizerDeclared,
        SchedulerDeclared,
        StateRestored,
        StepRecord,
        StepsPassed,
    )

    def __init__(self) -> None:
        self._coverage = Coverage(self.rule.law, "steps")
        self._resumes = Resumes()
        self._reported: set[tuple[int, int]] = set()
        self._scheduled: set[tuple[int, int]] = set()

    def observe(self, observation: Observation) -> Iterator[Finding]:
        """Take one observation in."""
        if isinstance(observation, SchedulerDeclared):
            if observation.reloaded and len(self._scheduled) < MAX_FINDINGS:
                self._scheduled.add((observation.origin.pid, observation.scheduler.optimizer))
            return
        resume = self._resumes.observe(observation)
        if resume is None or not isinstance(observation, StateRestored):
            return
        if not resume.loads:
            self._coverage.skip("state was restored, but not from a file that torch.load read")
            return
        weights = state = Comparison()
        if resume.module:
            weights = compare_parameters(resume.tensors, observation.tensors, resume.shared)
        if observation.loaded_optimizer:
            state = compare_state(resume.tensors, observation.state, resume.names)
        self._explain(weights, state)
        whole = resume.module and observation.loaded_optimizer
        if not whole and not weights.agreeing and not state.agreeing:
            # Nothing arrived: what was loaded was for another module or optimizer.
            return
        key = (observation.origin.pid, observation.optimizer)
        fresh = key not in self._reported and len(self._reported) < MAX_FINDINGS
        if fresh and (weights.differing or state.differing):
            self._reported.add(key)
            yield self._finding(observation, resume, weights, state, whole)
        elif fresh and key in self._scheduled and weights.agreeing and _left_behind(observation, resume):
            self._reported.add(key)
            yield self._began_anew(observation, resume)
        self._scheduled.discard(key)

    def finish(self) -> Iterator[Finding]:
        """Nothing shows only at the end."""
        return iter(())

    def coverage(self) -> Coverage:
        """Reasons only: `continuity-weights-changed` counts the steps of this law."""
        return self._coverage

    def _explain(self, weights: Comparison, state: Comparison) -> None:
        if weights.reshaped or state.reshaped:
            self._coverage.skip("restored tensors have another shape or type than those loaded")
        if not any((weights.agreeing, weights.differing, state.agreeing, state.differing)):
            self._coverage.skip("no restored tensor could be matched with a loaded one by name")

    def _began_anew(self, seen: StateRestored, resume: Resume) -> Finding:
        paths = list(dict.fromkeys(load.path for load in resume.loads if load.path))
        return finding_of(
            self.rule,
            f"optimizer {seen.optimizer}: state",
            f"at step {seen.step}, optimizer {seen.optimizer} goes on without the state that the loaded "
            "checkpoint holds for it, though module and scheduler were loaded",
            rank=seen.origin.rank,
            first_step=seen.step,
            locations=tuple(Location(path) for path in paths),
            severity=Severity.WARNING,
            confidence=Confidence.MEDIUM,
        )

    def _finding(
        self, seen: StateRestored, resume: Resume, weights: Comparison, state: Comparison, whole: bool
    ) -> Finding:
        parts = []
        for what, found in (("parameters", weights), ("optimizer state tensors", state)):
            if found.differing:
                names = listed([pair[1].key for pair in found.differing])
                parts.append(f"{len(found.differing)} {what} ({names})")
        paths = list(dict.fromkeys(load.path for load in resume.loads if load.path))
        surgery = Severity.NOTE if weights.combined and not state.differing else Severity.WARNING
        files = tuple(Evidence("loaded", observed=path) for path in paths)
        return finding_of(
            self.rule,
            f"optimizer {seen.optimizer}",
            f"at step {seen.step}, {' and '.join(parts)} differ from the loaded checkpoint",
            rank=seen.origin.rank,
            first_step=seen.step,
            locations=tuple(Location(path) for path in paths),
            evidence=(*tensor_evidence(weights.differing), *tensor_evidence(state.differing), *files),
            severity=None if whole else surgery,
            confidence=None if whole else Confidence.MEDIUM,
        )


def _left_behind(seen: StateRestored, resume: Resume) -> bool:
    """Whether the optimizer has no state, and the file holds some for its very parameters."""
    if seen.loaded_optimizer or seen.state:
        return False
    keys = {part for tensor in resume.tensors for part in [tensor.key.rpartition("state.")[2]]}
    held = {key.partition(".")[0] for key in keys if key[:1].isdigit() and "." in key}
    return len(held) >= len(seen.tensors) > 0
