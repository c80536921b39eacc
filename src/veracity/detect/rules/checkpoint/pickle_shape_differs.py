"""A pickle uses a permitted global in another way than files that hold data.

## The law

Load: nothing that can execute is loaded. A name is permitted together with the shapes of its arguments.

## What breaks it

`getattr` on a module in place of an enumeration, `copyreg._reconstructor` of a class that holds no data, a
tensor with backward hooks, a state of another form, a call of what another call returned, a function kept
that reaches any object.

## How it is checked

The policy has for each callable the shapes that files of real libraries use: numbers, texts, tuples,
results of which other calls, which globals. Targets of states and items are looked at in the same way. An
unexpected use of a name from the vocabulary of what does harm is an error, others are warnings.

## What fools it

A new version of a library that rebuilds its objects in a new way is told although it does no harm.

## What to do

Compare the arguments in the evidence with what the library writes. Do not load the file unless that
explains them.
"""

from __future__ import annotations

from typing import ClassVar

from ....core.rule import Confidence, Rule, Severity
from ...pickles import SHAPE
from .pickled import OfPickles


class PickleShapeDiffers(OfPickles):
    """Tells what is of this kind."""

    rule: ClassVar[Rule] = Rule(
        "checkpoint-pickle-shape-differs",
        "load",
        "A pickle uses a permitted global as no file of data does",
        Severity.WARNING,
        Confidence.MEDIUM,
    )
    kind: ClassVar[str] = SHAPE
