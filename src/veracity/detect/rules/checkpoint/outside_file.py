"""A model has a file opened that lies outside of its folder.

## The law

Load: what is loaded is what was looked at.

## What breaks it

A tensor of an ONNX model whose bytes lie in ``/etc/passwd`` or ``../../other/model.bin``; the vocabulary of a
Keras layer that is read from another folder or another host. What is read becomes part of the model, and
leaves with what the model puts out.

## How it is checked

Each path that a model names is compared with what an exporter writes: the name of a file beside it, or in a
folder below. Absolute paths, ways up (``..``), addresses (``http://``, ``gs://``, ``file://``) and names with
control characters are findings.

## What fools it

A link that lies beside the model under an ordinary name. A file beside the model that is exchanged.

## What to do

Do not load the model where that file means something. Export it anew, with its data in files beside it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import ClassVar

from ....core.coverage import Coverage
from ....core.finding import Evidence, Finding, Location, finding_of
from ....core.observation import FileAsked, Observation
from ....core.rule import Confidence, Rule, Severity

_OUTSIDE = re.compile(r"[/\\~]|[A-Za-z]:[/\\]|[A-Za-z][A-Za-z0-9+.-]*://")
_CONTROL = re.compile(r"[\0-\x1f]")


class OutsideFile:
    """One finding for each such path."""

    rule: ClassVar[Rule] = Rule(
        "checkpoint-outside-file",
        "load",
        "A model has a file opened that lies outside of its folder",
        Severity.ERROR,
        Confidence.HIGH,
    )
    takes: ClassVar[tuple[type[Observation], ...]] = (FileAsked,)

    def __init__(self) -> None:
        self._coverage = Coverage(self.rule.law, "files that models name")

    def observe(self, observation: Observation) -> Iterator[Finding]:
        """Judge one path."""
        if not isinstance(observation, FileAsked):
            return
        one = observation
        self._coverage.count(checked=True)
        why = _why(one.path)
        if why:
            yield finding_of(
                self.rule,
                one.name,
                f"{one.name} has {one.loader} open {one.path!r}, {why}",
                locations=(Location(one.name),),
                evidence=(Evidence(one.where or "the document", observed=one.path),),
            )

    def finish(self) -> Iterator[Finding]:
        """Nothing is left for the end."""
        return iter(())

    def coverage(self) -> Coverage:
        """Files that models name."""
        return self._coverage


def _why(path: str) -> str:
    if _OUTSIDE.match(path):
        return "which is a place of its own, not one beside it"
    if ".." in re.split(r"[/\\]", path):
        return "which leads out of its folder"
    return "which is no name of a file" if _CONTROL.search(path) else ""
