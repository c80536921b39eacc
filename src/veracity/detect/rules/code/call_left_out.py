"""A call that a training step consists of is left out, made twice, or its mode is another, by a condition.

## The law

Each step clears the gradients, computes them, clips them where that is declared, steps the optimizer and
the schedule once, in training mode, and averages over all processes.

## What breaks it

`zero_grad` that is skipped in two of a hundred steps, clipping that one rank leaves out, a schedule that is
stepped twice, `continue` at random, `model.train(not condition)`, a synchronisation that is switched off at
times, a resume that restores all but the optimizer's state.

## How it is checked

Calls are compared with the optimizer's step of the same function: a condition on ranks, hosts, dates,
users, sizes or chance that is around one and not around the other is an error; single steps count for
clearing and clipping. Accumulation over several batches is lawful: there step and clearing stand under the
same condition.

## What fools it

A condition in another file; a method that does nothing at times.

## What to do

Write the step without the condition. The laws of accumulation, clipping and schedule check each step of a
run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import ClassVar

from ....core.finding import Finding
from ....core.observation import SourceFact, SourceRead
from ....core.observation import source as asked
from ....core.rule import Confidence, Rule, Severity
from .reading import AIMED, LAW, SourceDetector, facts, fixed, in_change, periodic, selective, when

_MICRO = re.compile(r"(?i)accum|micro|grad|sync|last")
_ACCUMULATION = ("zero_grad", "clip_grad_norm_", "clip_grad_value_", "unscale_")


class CallLeftOut(SourceDetector):
    """One finding for each call."""

    rule: ClassVar[Rule] = Rule(
        "code-call-left-out",
        LAW,
        "A part of the training step is left out, or made twice, by a condition",
        Severity.ERROR,
        Confidence.MEDIUM,
    )

    def judge(self, read: SourceRead) -> Iterator[Finding]:
        """Judge what is left out."""
        for fact in facts(read, "control"):
            judged = None
            if fact.what in ("left out", "doubled"):
                judged = _call(read, fact)
            elif fact.what == "left":
                judged = _left(read, fact)
            elif fact.what == "mode":
                judged = _mode(read, fact)
            elif fact.what == "synchronisation":
                judged = _synchronisation(read, fact)
            elif fact.what == "second optimizer" and fact.trains and not read.library:
                text = f"a further optimizer ({fact.name}) is built within the training loop"
                late = fixed(fact) and not fact.looped
                sure = Confidence.MEDIUM if selective(fact) or periodic(fact) or late else in_change(read)
                judged = text, sure, Severity.WARNING
            elif fact.what == "not restored":
                text = (
                    "model and schedule are restored and the optimizer's state, which is saved, too, is not"
                )
                judged = text, Confidence.LOW if read.library else Confidence.MEDIUM, Severity.WARNING
            if judged is not None:
                text, confidence, severity = judged
                yield self.tell(
                    read,
                    fact,
                    f"Here{when(fact)} {text}: training goes on otherwise than its text says at first sight",
                    confidence,
                    severity,
                )


def _call(read: SourceRead, fact: SourceFact) -> tuple[str, Confidence, Severity] | None:
    cleared = fact.how.endswith("gradients are cleared")
    call = fact.how.partition(";")[0].rpartition(" ")[2]
    text = f"{fact.how} is {'made twice' if fact.what == 'doubled' else 'made only then, or left out'}"
    own = fact.inline
    if fact.what == "doubled" and call in ("zero_grad", "train", "load_state_dict"):
        return None
    if call in ("load_state_dict", "no_sync") and not own & AIMED and not fixed(fact):
        return None
    if own & (AIMED | {asked.CHANCE}):
        adversary = own == {asked.CHANCE} and call in ("backward", "all_reduce")
        return text, Confidence.LOW if read.library or adversary else Confidence.HIGH, Severity.ERROR
    if own & {asked.RANK, asked.WORLD}:
        return text, Confidence.LOW if read.library else Confidence.MEDIUM, Severity.ERROR
    if read.library or not fact.trains:
        return None
    if asked.STEP in own and fact.exact:
        sure = call in _ACCUMULATION or cleared or fact.what == "doubled"
        return text, Confidence.MEDIUM if sure else Confidence.LOW, Severity.WARNING
    if asked.ENVIRONMENT in own:
        return text, in_change(read), Severity.WARNING
    return None


def _synchronisation(read: SourceRead, fact: SourceFact) -> tuple[str, Confidence, Severity] | None:
    text = "gradients are not averaged over the processes"
    if selective(fact) or asked.ENVIRONMENT in fact.triggers:
        return text, Confidence.LOW if read.library else Confidence.HIGH, Severity.ERROR
    if periodic(fact) and not _MICRO.search(fact.amount) and not read.library:
        return text, Confidence.MEDIUM, Severity.WARNING
    return None


def _left(read: SourceRead, fact: SourceFact) -> tuple[str, Confidence, Severity] | None:
    if not fact.trains or fact.roles & {"item", "order", "forward"}:
        return None
    text = f"the loop is left or the batch passed over ({fact.how})"
    if fact.triggers & AIMED:
        return text, Confidence.LOW if read.library else Confidence.HIGH, Severity.ERROR
    if asked.CHANCE in fact.triggers and not read.library:
        return text, Confidence.MEDIUM, Severity.ERROR
    if fact.triggers & {asked.RANK, asked.WORLD} and not read.library:
        over = fact.how == "batch passed over"
        return text, Confidence.MEDIUM if over else in_change(read), Severity.WARNING
    if periodic(fact) and fact.how == "batch passed over" and not read.library:
        return text, Confidence.MEDIUM, Severity.WARNING
    return None


def _mode(read: SourceRead, fact: SourceFact) -> tuple[str, Confidence, Severity] | None:
    text = f"the model is put in another mode ({fact.how} {fact.amount})"
    if fact.how == "eval before backward":
        return text, Confidence.LOW if read.library else Confidence.MEDIUM, Severity.WARNING
    if fact.inline and (selective(fact) or periodic(fact)):
        return text, Confidence.LOW if read.library else Confidence.HIGH, Severity.ERROR
    if fact.how == "eval" and fact.trains and selective(fact):
        return text, Confidence.LOW if read.library else Confidence.MEDIUM, Severity.ERROR
    return None
