"""A generator that is put back before each step, so that its state at every step is the same.

Such a state looks as if nothing had been drawn. What tells it from that: the generator was set since the
step before, and drawn from after that, and stands all the same where it stood. Programs that set and restore
a state around something (evaluation, activation checkpointing) leave it where it goes on, and one that seeds
each step from its beginning on means to.
"""

from __future__ import annotations

from dataclasses import dataclass

from ....core.observation import StepRecord

DRAWN = 10
CONFIRMED = 3


def was_drawn_again(step: StepRecord) -> bool:
    """Whether torch's generator was set since the step before, and drawn from after that."""
    return bool(step.set_to) and step.set_to != step.rng.get("torch")


@dataclass(slots=True)
class PutBack:
    """torch's generator before one optimizer's steps.

    ``drawn`` counts steps in a row at which its state had moved on, ``length`` those at which it had been put
    back, since step ``first``; ``passes`` of these were the first of a pass over a loader.
    """

    last: str = ""
    drawn: int = 0
    first: int = 0
    length: int = 0
    passes: int = 0
    meant: bool = False

    def take(self, step: StepRecord, *, at_pass: bool) -> bool:
        """One more step; True at the one that makes it certain."""
        state = step.rng.get("torch", "")
        moved, self.last = state != self.last, state
        if moved or not was_drawn_again(step):
            self.drawn = self.drawn + 1 if moved else 0
            self.length = self.passes = 0
            return False
        if not self.length:
            self.first = step.step
            self.meant = self.meant or self.drawn < DRAWN
        self.length += 1
        self.passes += at_pass
        return self.length == CONFIRMED and not self.meant
