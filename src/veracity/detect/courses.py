"""The frame of rules that follow each optimizer of a process from step to step until it is restored."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import ClassVar, Generic, TypeVar

from ..core.coverage import Coverage
from ..core.finding import Finding
from ..core.observation import LoaderStarted, Observation, StateRestored, StepRecord
from ..core.rule import Rule
from .newpass import NewPasses

MAX_OPTIMIZERS = 4096
Course = TypeVar("Course")


class ByOptimizer(ABC, Generic[Course]):
    """Keeps a course for each optimizer, :data:`MAX_OPTIMIZERS` at most; counts no coverage of its own."""

    rule: ClassVar[Rule]
    takes: ClassVar[tuple[type[Observation], ...]] = (LoaderStarted, StateRestored, StepRecord)

    def __init__(self) -> None:
        self._coverage = Coverage(self.rule.law, "steps")
        self._courses: dict[tuple[int, int], Course] = {}
        self._passes = NewPasses()

    @abstractmethod
    def begin(self) -> Course:
        """The course of an optimizer that was not seen before, or whose state was restored."""

    @abstractmethod
    def step(self, course: Course, step: StepRecord, *, at_pass: bool) -> Iterator[Finding]:
        """Judge a step; ``at_pass``: it is the first since a pass over a loader began."""

    def observe(self, observation: Observation) -> Iterator[Finding]:
        """Hand each step to its optimizer's course."""
        pid = observation.origin.pid
        if isinstance(observation, LoaderStarted):
            self._passes.begin(pid)
        elif isinstance(observation, StateRestored):
            self._courses.pop((pid, observation.optimizer), None)
        elif isinstance(observation, StepRecord):
            at_pass = self._passes.step(pid, observation.optimizer)
            course = self._course((pid, observation.optimizer))
            if course is not None:
                yield from self.step(course, observation, at_pass=at_pass)

    def _course(self, key: tuple[int, int]) -> Course | None:
        if key not in self._courses and len(self._courses) < MAX_OPTIMIZERS:
            self._courses[key] = self.begin()
        return self._courses.get(key)

    def finish(self) -> Iterator[Finding]:
        """Nothing is left for the end."""
        yield from ()

    def coverage(self) -> Coverage:
        """Nothing of its own: other rules count what the law's steps are."""
        return self._coverage
