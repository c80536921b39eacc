"""A template reaches for what it was not given.

## The law

Load: nothing that can execute is loaded. A chat template puts messages into a text.

## What breaks it

Jinja lets a template ask any object for any attribute. From a function of its own (``cycler``, ``namespace``)
it is three steps to ``os.popen``: ``cycler.__init__.__globals__.os``. Programs that render templates of
models without a sandbox execute that, at the first message.

## How it is checked

Templates are parsed as Jinja does, from ``tokenizer_config.json``, ``chat_template.jinja``, the metadata of
GGUF files and other places. Python's own names (``__class__``, ``__globals__``, ``mro``, ``gi_frame`` …) as
an attribute, as a key in brackets, in a filter that takes the name of an attribute or in a format string
are an error, however they are put together of texts in the template. A key that is put together of what
cannot be known is a warning of low confidence, and so is a chat template that loads another file. Text
outside of tags and texts that are printed may say what they like. Of templates that are no chat templates,
names that only describe (``__name__``, ``__doc__``) are passed over.

## What fools it

Functions and filters that a program adds to its templates, and what it puts into their values.

## What to do

Do not render the template. Take the one of the model's publisher, and render in a sandbox
(``jinja2.sandbox.ImmutableSandboxedEnvironment``), in a version without known ways out of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from ....core.coverage import Coverage
from ....core.finding import Evidence, Finding, Location, finding_of
from ....core.observation import Observation, TemplateReach
from ....core.rule import Confidence, Rule, Severity

_DESCRIBE = frozenset({"__name__", "__doc__", "__class__", "__module__", "__version__", "__qualname__"})
_IS = {
    "internal": "reaches for {text}",
    "format": "reaches for attributes in a format string, {text}",
    "computed": "reaches for an attribute whose name it puts together ({text})",
    "file": "loads the template {text}",
}


class TemplateReaches:
    """One finding for each thing that a template reaches for."""

    rule: ClassVar[Rule] = Rule(
        "checkpoint-template-reaches",
        "load",
        "A template reaches for what it was not given",
        Severity.ERROR,
        Confidence.HIGH,
    )
    takes: ClassVar[tuple[type[Observation], ...]] = (TemplateReach,)

    def __init__(self) -> None:
        self._coverage = Coverage(self.rule.law, "reaches of templates")

    def observe(self, observation: Observation) -> Iterator[Finding]:
        """Judge one reach."""
        if not isinstance(observation, TemplateReach):
            return
        self._coverage.count(checked=True)
        one = observation
        weighed = _weight(one)
        if weighed is None:
            return
        place = f" under {one.where}" if one.where else ""
        yield finding_of(
            self.rule,
            one.name,
            f"the template in {one.name}{place} {_IS[one.reach].format(text=one.text)}",
            locations=(Location(one.name, 0 if one.where else one.line),),
            evidence=(Evidence(f"line {one.line} of the template", observed=one.text),),
            severity=weighed[0],
            confidence=weighed[1],
        )

    def finish(self) -> Iterator[Finding]:
        """Nothing is left for the end."""
        return iter(())

    def coverage(self) -> Coverage:
        """What templates reach for."""
        return self._coverage


def _weight(one: TemplateReach) -> tuple[Severity, Confidence] | None:
    if one.reach in ("internal", "format"):
        harmless = not one.chat and one.text in _DESCRIBE
        return None if harmless else (Severity.ERROR, Confidence.HIGH)
    if one.reach == "file":
        outside = one.text.startswith(("/", "~")) or ".." in one.text.split("/")
        return (Severity.WARNING, Confidence.MEDIUM) if one.chat or outside else None
    return (Severity.WARNING, Confidence.LOW) if one.chat else None
