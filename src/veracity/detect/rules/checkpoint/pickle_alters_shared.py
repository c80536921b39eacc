"""A pickle alters an object that it did not make, or what an object of its own does.

## The law

Load: a file that is loaded changes nothing but what it brings.

## What breaks it

A state set on a class, a module or a function (BUILD), items put into a dictionary of a module (SETITEM):
every object of the process is changed, for instance the `step` of all optimizers. An attribute `__class__`,
or a `forward` on one object of the file's own, which comes before the method of the class.

## How it is checked

The targets of BUILD, SETITEM, APPEND and ADDITEMS have to be containers of the stream or results of its
calls. In the states of objects, names with two underscores in front are told, and names of methods that
training calls unless they hold plain data.

## What fools it

A `__setstate__` of a permitted class that alters shared state by itself.

## What to do

Do not load the file. Where a run has loaded it, take what it computed since then for void.
"""

from __future__ import annotations

from typing import ClassVar

from ....core.rule import Confidence, Rule, Severity
from ...pickles import ALTERS
from .pickled import OfPickles


class PickleAltersShared(OfPickles):
    """Tells what is of this kind."""

    rule: ClassVar[Rule] = Rule(
        "checkpoint-pickle-alters-shared",
        "load",
        "A pickle alters what is not its own",
        Severity.ERROR,
        Confidence.HIGH,
    )
    kind: ClassVar[str] = ALTERS
