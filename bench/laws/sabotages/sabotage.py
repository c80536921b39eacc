"""What a sabotage of the bench is: planted lines, who must find it, and where it can be tried."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..planting import TRIGGERS, Lines

EVERYWHERE = ("chargpt", "digits", "images", "regression", "reader")
CLIPPING = ("chargpt", "regression", "reader")
WITH_BUFFERS = ("digits", "images")
BOTH = ("single", "ddp")

PLANNED = {
    "gradient-*": "gradient truth, gradient continuity, clipping",
    "data-*": "data content and the relation of items to delivered batch",
    "randomness-*": "randomness beyond a state that returns",
    "metric-*": "reported = computed",
    "time-*": "the full form of time: loaders, busy loops, a slow rank",
    "life-*": "hangs and freezes",
    "checkpoint-*": "load: nothing that can execute is loaded",
    "environment-*": "start-up purity",
    "contract-*": "what the run declared and no longer does",
    "update-*": "the update of further optimizers, and their state between steps",
    "continuity-*": "buffers and optimizer state between steps",
    "replica-*": "replica agreement",
    "schedule-*": "the schedule",
}
"""Families of rules, planned or growing: any breaking finding of the family counts as caught."""


@dataclass(frozen=True, slots=True)
class TorchEdit:
    """A change of one file of a throw-away copy of torch. ``$n`` in ``new`` is the step from 0."""

    file: str
    old: str
    new: str
    step: str


@dataclass(frozen=True, slots=True)
class Sabotage:
    """One planted change.

    ``rules``: exact ids, or ``family-*``; a breaking finding of one of them, not before the first affected
    step, is a catch by the law concerned. ``also``: rules that find the way it was done (code identity),
    counted apart. ``torch``: edits of torch's own files by the optimizer's name, ``any`` for all.
    ``between`` is a program for the job's interpreter, run on the checkpoint (``sys.argv[1]``, strength in
    ``sys.argv[2]``) between save and resume. ``noted``: a note is all that can be said of it, and is a catch.
    ``site`` are files of a folder put on PYTHONPATH.
    """

    name: str
    family: str
    about: str
    rules: tuple[str, ...]
    lines: tuple[Lines, ...] = ()
    also: tuple[str, ...] = ()
    torch: Mapping[str, tuple[TorchEdit, ...]] = field(default_factory=dict)
    targets: tuple[str, ...] = EVERYWHERE
    forms: tuple[str, ...] = BOTH
    strengths: tuple[float, ...] = (0.005, 0.05, 0.5)
    triggers: tuple[str, ...] = TRIGGERS
    steps: int = 60
    start: int = 12
    resumes: bool = False
    between: str = ""
    site: Mapping[str, str] = field(default_factory=dict)
    stacks: bool = False
    noted: bool = False

    def expects(self, rule: str) -> bool:
        """Whether a finding of ``rule`` is one of the law concerned."""
        return any(_matches(rule, wanted) for wanted in self.rules)

    def expects_also(self, rule: str) -> bool:
        """Whether a finding of ``rule`` is about the way it was done."""
        return any(_matches(rule, wanted) for wanted in self.also)


def _matches(rule: str, wanted: str) -> bool:
    return rule.startswith(wanted[:-1]) if wanted.endswith("*") else rule == wanted


def step_lines(site: str, *text: str) -> tuple[Lines, ...]:
    """Lines before a site, when it is time."""
    return (Lines(site, "before", text),)
