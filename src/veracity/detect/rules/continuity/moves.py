"""Weights seen to move without a step: held back until it shows whether they came back.

Some methods move weights and put them back before the step (sharpness-aware minimisation, an average swapped
in for evaluation). Their next step record shows the values unchanged, or the guard sees that they are back
before it, and that explains the movement.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from ....core.observation import WeightsMoved
from ....core.rule import Confidence

MAX_KEPT = 1024
ENOUGH = 3
"""So many movements without a step are not an excursion when `step` was replaced on the instance."""

_SEARCHES = "LBFGS"  # evaluates its closure at several points within one step


@dataclass(slots=True)
class Movement:
    """Movements of one optimizer's parameters since its last step."""

    first: WeightsMoved
    times: int = 1
    reported: bool = False

    @property
    def confidence(self) -> Confidence | None:
        """How sure it is when no step ever followed; None: as the rule says.

        One movement may be the program's last word on its weights (an average copied in), and an optimizer
        that never made a step may not be what trains.
        """
        trained = self.first.after_step >= 0 or self.first.step_replaced
        return None if self.times > 1 and trained else Confidence.MEDIUM

    @property
    def certain(self) -> bool:
        """Whether it need not wait for a step: one is being made, none was ever seen, or too many moves."""
        if self.first.at_step:
            return True
        replaced = bool(self.first.step_replaced)
        return replaced and (self.first.after_step < 0 or self.times >= ENOUGH)


class Moves:
    """Movements that no step has explained yet, by (pid, optimizer)."""

    def __init__(self) -> None:
        self._open: OrderedDict[tuple[int, int], Movement] = OrderedDict()

    def moved(self, seen: WeightsMoved, class_name: str) -> Movement | None:
        """Take a movement in; returned when it is certain and not reported yet."""
        if class_name.endswith(_SEARCHES):
            return None
        key = (seen.origin.pid, seen.optimizer)
        movement = self._open.get(key)
        if seen.back:
            if movement is not None and not movement.reported:
                del self._open[key]
            return None
        if movement is None:
            movement = self._open[key] = Movement(seen)
            if len(self._open) > MAX_KEPT:
                self._open.popitem(last=False)
        else:
            movement.times += 1
        if movement.certain and not movement.reported:
            movement.reported = True
            return movement
        return None

    def stepped(self, pid: int, optimizer: int) -> Movement | None:
        """A step came: the movement before it, if one waits."""
        movement = self._open.pop((pid, optimizer), None)
        return None if movement is None or movement.reported else movement

    def loaded(self, pid: int) -> None:
        """A checkpoint was loaded in that process: what moved, moved by that."""
        for key in [key for key in self._open if key[0] == pid]:
            del self._open[key]

    def left(self) -> list[Movement]:
        """The run is over: movements that no step followed."""
        return [movement for movement in self._open.values() if not movement.reported]


def moved_message(movement: Movement) -> str:
    """What happened, in a sentence."""
    seen = movement.first
    times = "" if movement.times == 1 else f" {movement.times} times"
    since = f"after step {seen.after_step}" if seen.after_step >= 0 else "before any step was seen"
    text = f"parameters changed{times} {since} without an optimizer step"
    if seen.step_replaced:
        text += f"; `step` was replaced on the optimizer instance by {seen.step_replaced} and fired no hook"
    return text
