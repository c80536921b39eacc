"""Code changes a gradient outside the places where gradients are changed.

## The law

Between the backward pass and the optimizer's step a gradient changes by unscaling, averaging over processes
and clipping, and by nothing else.

## What breaks it

`p.grad.neg_()`, `p.grad.mul_(0.9)`, `p.grad = -p.grad`, `torch._foreach_mul_(grads, -1)`, a hook that
returns `-gradient`, a backward pass of an own function that has another sign at some steps.

## How it is checked

Values are followed from `.grad`, from gradient hooks and backward passes through variables, loops, helpers,
lambdas, choices and dictionaries. A change that is made at certain steps, on certain ranks, hosts, dates or
at random is an error of high confidence. A gradient that is turned round anywhere but in an optimizer is
told; other changes that are always made (masks, noise, averages) are for auditors in a whole tree. A
reversal layer, whose backward pass always negates, is lawful and for auditors.

## What fools it

An edit by compiled code, through memory that a gradient shares, or with a factor that the text does not
show.

## What to do

Read what the condition asks. The law of gradient truth tells in a run whether the gradient is the loss'
derivative.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import ClassVar

from ....core.finding import Finding
from ....core.observation import SourceFact, SourceRead
from ....core.observation import source as asked
from ....core.rule import Confidence, Rule, Severity
from .reading import LAW, SourceDetector, facts, fixed, in_change, periodic, selective, when

_LAWFUL = re.compile(r"(?i)accum|world|num_|\bn_|scale|coef|clip|norm|len\(|size|count|batch|micro|ratio")
_DOES = {
    "flip": "the gradient {name} is turned round: training climbs where it should descend",
    "scale": (
        "the gradient {name} is multiplied by {amount}: the step is longer or shorter than the loss asks for"
    ),
    "zero": "the gradient {name} is set to zero: what it belongs to does not learn",
    "mask": "a part of the gradient {name} is left out: what it belongs to does not learn",
    "noise": "random numbers are added to the gradient {name}: training goes astray",
    "shuffle": "elements of the gradient {name} change their places: each weight learns what another should",
    "fill": "the gradient {name} is overwritten with a constant",
}
_OTHERWISE = (
    "the gradient {name} is changed ({how} {amount}): the optimizer steps along something else "
    "than the loss' gradient"
)
_REVERSES = re.compile(r"(?i)revers|grl|advers|domain|flip|negat|unlearn|ascent|maximi")
_NOT_RANKS = frozenset((asked.HOST, asked.USER, asked.DATE, asked.CHANCE))
_PLACES = frozenset(("update", "clip", "scaler", "init"))


class GradientEdited(SourceDetector):
    """One finding for each edit."""

    rule: ClassVar[Rule] = Rule(
        "code-gradient-edited",
        LAW,
        "Code changes a gradient outside the places for that",
        Severity.ERROR,
        Confidence.MEDIUM,
    )

    def judge(self, read: SourceRead) -> Iterator[Finding]:
        """Judge each edit of a gradient."""
        for fact in facts(read, "edit"):
            if fact.what != "gradient":
                continue
            weight = _weight(read, fact)
            if weight is None:
                continue
            confidence, severity = weight
            text = _DOES.get(fact.how, _OTHERWISE).format(
                name=fact.name, amount=fact.amount or "it", how=fact.how
            )
            where = when(fact).strip(", ")
            message = f"{where[0].upper()}{where[1:]}, {text}" if where else f"{text[0].upper()}{text[1:]}"
            yield self.tell(read, fact, message, confidence, severity)


def _weight(read: SourceRead, fact: SourceFact) -> tuple[Confidence, Severity] | None:
    how, attribute = fact.how, ".grad" in fact.name or "grad" in fact.roles
    if how == "clamp" and selective(fact, without=(asked.ENVIRONMENT,)) and fact.trains and not read.library:
        return Confidence.MEDIUM, Severity.ERROR
    if how in ("", "none", "detach", "cut", "round", "clamp", "average"):
        return None
    own = not read.library
    if own and how == "flip" and _turned(read, fact):
        return Confidence.MEDIUM, Severity.ERROR
    if own and how == "shuffle" and attribute and not fact.roles & {"init", "test"}:
        return Confidence.MEDIUM, Severity.ERROR
    strong = how in _DOES
    in_place = bool(fact.roles & _PLACES)
    training = fact.trains or attribute or bool(fact.roles & {"hook", "gradient-hook", "backward"})
    if selective(fact) and training:
        ranks = read.library and not fact.triggers & _NOT_RANKS
        if ranks or (in_place and not strong):
            return Confidence.LOW, Severity.WARNING
        return (Confidence.HIGH if strong else Confidence.MEDIUM), Severity.ERROR
    if periodic(fact) and training and strong:
        if how != "flip" and (_LAWFUL.search(fact.amount) or read.library):
            return Confidence.LOW, Severity.WARNING
        return (Confidence.HIGH if how == "flip" else Confidence.MEDIUM), Severity.ERROR
    late = fixed(fact) and asked.STEP in fact.triggers and own and not in_place
    if late and how in ("flip", "noise", "mask", "fill", "scale") and training:
        return Confidence.MEDIUM, Severity.ERROR
    if in_place or (read.library and not attribute):
        return None
    if how == "flip":
        if fact.roles & {"backward", "gradient-hook"} or not attribute:
            return (in_change(read) if "gradient-hook" in fact.roles else Confidence.LOW), Severity.WARNING
        return (Confidence.LOW if read.library else Confidence.MEDIUM), Severity.ERROR
    if how == "scale" and own and "optimizer-hook" in fact.roles and fact.factor is not None:
        return Confidence.MEDIUM, Severity.ERROR
    if (
        how in ("scale", "zero")
        and fact.factor is not None
        and attribute
        and fact.trains
        and not read.library
    ):
        amplifies = how == "scale" and abs(fact.factor) > 1
        return (Confidence.MEDIUM if amplifies else in_change(read)), Severity.WARNING
    lawful = how in ("copy", "replace", "add", "item", "choice", "other") or _LAWFUL.search(fact.amount)
    return (Confidence.LOW if lawful else in_change(read)), Severity.WARNING


def _turned(read: SourceRead, fact: SourceFact) -> bool:
    """A gradient that is turned round where nothing says so: who reverses gradients says that."""
    if _REVERSES.search(f"{fact.scope} {read.path} {fact.excerpt}"):
        return False
    if "clip" in fact.roles and "update" not in fact.roles:
        return True
    return bool(fact.roles & {"weight-hook", "bucket-hook", "reversal", "optimizer-hook", "global-hook"})
