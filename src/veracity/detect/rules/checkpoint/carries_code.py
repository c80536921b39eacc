"""A document brings code that its loader makes a function of.

## The law

Load: nothing that can execute is loaded.

## What breaks it

A ``Lambda`` layer of Keras holds marshalled bytecode (a ``TorchModuleWrapper`` a pickle), which the loader
turns into a function and calls as soon as the model is built. ``py/repr`` of jsonpickle is evaluated.
``!apply`` and resolvers that evaluate text do the same in YAML.

## How it is checked

The documents are read as their loaders read them: a layer that carries bytecode, and text that is evaluated
and does more than calculate. What the code does is not asked: nobody can read marshalled bytecode before it
is loaded.

## What fools it

Code of a layer that is registered by the program under the same name.

## What to do

Load with ``safe_mode=True`` and without ``enable_unsafe_deserialization``. Ask for the layer's source,
write it as a class and load the weights into it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from ....core.coverage import Coverage
from ....core.finding import Evidence, Finding, Location, finding_of
from ....core.observation import CodeCarried, Observation
from ....core.rule import Confidence, Rule, Severity

_IS = {
    "bytecode": "marshalled bytecode, which {loader} makes a function of",
    "pickle": "a pickle, which {loader} loads",
    "source": "source code, which {loader} executes",
    "expression": "text that {loader} evaluates: {text}",
}


class CarriesCode:
    """One finding for each piece of code."""

    rule: ClassVar[Rule] = Rule(
        "checkpoint-carries-code",
        "load",
        "A document brings code that its loader makes a function of",
        Severity.ERROR,
        Confidence.HIGH,
    )
    takes: ClassVar[tuple[type[Observation], ...]] = (CodeCarried,)

    def __init__(self) -> None:
        self._coverage = Coverage(self.rule.law, "pieces of code")

    def observe(self, observation: Observation) -> Iterator[Finding]:
        """Judge one piece."""
        if not isinstance(observation, CodeCarried):
            return
        one = observation
        self._coverage.count(checked=True)
        what = _IS[one.form].format(loader=one.loader, text=one.text)
        yield finding_of(
            self.rule,
            one.name,
            f"{one.name} brings {what}",
            locations=(Location(one.name),),
            evidence=(Evidence(one.where or "the document", observed=one.text or one.form),),
        )

    def finish(self) -> Iterator[Finding]:
        """Nothing is left for the end."""
        return iter(())

    def coverage(self) -> Coverage:
        """Code that documents bring."""
        return self._coverage
