"""A change removes a call that a training step consists of.

## The law

Each step clears the gradients, computes them, clips them where that is declared, and steps optimizer and
schedule; a resume restores what was saved.

## What breaks it

A change that takes away `zero_grad`, the clipping, the schedule's step, `set_epoch` of a sampler or the
line that loads the optimizer's state: a removed line adds nothing that could be suspicious.

## How it is checked

In a change only: the calls of each function are counted before and after. A call that stands in fewer
places of a function that is still there, and in fewer of the whole file, is told; one that moved is not.

## What fools it

A call that stays and is never reached.

## What to do

Ask what does its work now. If nothing does, put it back.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from ....core.finding import Evidence, Finding, Location, finding_of
from ....core.observation import SourceRead
from ....core.rule import Confidence, Rule, Severity
from .reading import LAW, SourceDetector

_LOSES = {
    "zero_grad": "gradients of earlier steps stay and are added up",
    "backward": "no gradient is computed there",
    "clip_grad_norm_": "steps are no longer limited",
    "clip_grad_value_": "steps are no longer limited",
    "unscale_": "gradients are clipped while they are still scaled",
    "all_reduce": "processes go on with different values",
    "set_epoch": "each epoch has the same order",
    "load_state_dict": "a resume goes on without what was saved",
    "train": "the model stays in the mode of the evaluation",
    "step": "it stands still where it was stepped",
}


class CallDropped(SourceDetector):
    """One finding for each call."""

    rule: ClassVar[Rule] = Rule(
        "code-call-dropped",
        LAW,
        "A change removes a call of the training step",
        Severity.WARNING,
        Confidence.MEDIUM,
    )

    def judge(self, read: SourceRead) -> Iterator[Finding]:
        """Judge calls that are gone."""
        for dropped in read.dropped:
            function, _, call = dropped.rpartition(": ")
            loses = _LOSES.get(call.rpartition(".")[2], "what it did is not done")
            yield finding_of(
                self.rule,
                read.path,
                f"The change removes {call} from {function or 'the module'}: {loses}",
                locations=(Location(read.path),),
                evidence=(Evidence("removed", expected=call, observed="", excerpt=(dropped,)),),
                confidence=Confidence.LOW if read.test else None,
            )
