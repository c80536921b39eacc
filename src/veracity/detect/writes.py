"""Which tensors a program writes at which steps: what it always does, and a single tensor written anew."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from ..core.contract import TensorDeclaration
from ..core.observation import StepRecord
from ..core.sweep import counted

EARLY = 10
"""What a program does in so many first steps is its habit; for so many a tensor must have been left alone."""
SEVERAL = 2


@dataclass(frozen=True, slots=True)
class Anew:
    """Tensors written at one step that never were before; ``alike``: all were, or all matrices."""

    tensors: Sequence[int] = ()
    alike: bool = False


NOTHING = Anew()


@dataclass(slots=True)
class Between:
    """Follows the writes into one optimizer's weights between its steps; ``swept`` after the last one."""

    swept: tuple[int, ...] = ()
    last: int = -1

    def take(self, step: StepRecord) -> tuple[set[int], dict[int, int]] | None:
        """Tensors whose writes were counted before ``step``, and how often those that were written.

        None where that is not known.
        """
        swept, self.swept = self.swept, step.swept_after.tensors
        before, self.last = self.last, step.step
        if step.written is None or step.step != before + 1:
            return None
        looked = set(swept[counted(step.step, swept)]).intersection(step.swept_before.tensors)
        return looked, {one[0]: one[1] for one in step.written if len(one) == 2}


@dataclass(slots=True)
class Writes:
    """The writes into the tensors of one optimizer, step after step.

    ``known`` are tensors that were written before, ``quiet`` counts the steps at which each was looked at and
    had not been. A program that writes single tensors at some of its first steps and not at others decides by
    what it finds (``irregular``): nothing it writes is told.
    """

    steps: int = 0
    known: set[int] = field(default_factory=set)
    quiet: dict[int, int] = field(default_factory=dict)
    irregular: bool = False
    alike: bool = False

    def take(
        self, looked: Collection[int], written: Collection[int], declared: Sequence[TensorDeclaration]
    ) -> Anew:
        """One more step: of the tensors ``looked`` at, these were written."""
        early, self.steps = self.steps < EARLY, self.steps + 1
        found = set(written).intersection(looked)
        if found and _all_alike(found, looked, declared):
            anew, self.alike = not early and not self.alike, True
            return Anew(sorted(found), alike=True) if anew else NOTHING
        fresh = found - self.known
        for tensor in looked:
            if tensor not in found:
                self.quiet[tensor] = self.quiet.get(tensor, 0) + 1
        self.known |= found
        if early:
            self.irregular = self.irregular or any(self.quiet.get(tensor, 0) for tensor in fresh)
        if early or self.irregular:
            return NOTHING
        return Anew(sorted(tensor for tensor in fresh if self.quiet.get(tensor, 0) >= EARLY))


def _all_alike(found: set[int], looked: Collection[int], declared: Sequence[TensorDeclaration]) -> bool:
    """Whether every tensor was written, or every matrix (a program may leave biases and scales out)."""
    if found.issuperset(looked):
        return True
    matrices = [at for at in looked if at < len(declared) and len(declared[at].shape) > 1]
    return len(matrices) >= SEVERAL and found.issuperset(matrices)
