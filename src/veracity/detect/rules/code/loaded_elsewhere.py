"""A module of an installed distribution was loaded from another place.

## The law

Code identity: what executes is what was sealed. A distribution's RECORD says where each of its files lies.

## What breaks it

A copy of a package, or of one file of it, in a folder that comes first on the path: the installed file is
untouched and is never executed.

## How it is checked

The monitor looks the file up in RECORD, also behind symbolic links. If RECORD does not know it but lists the
same module at another place, the two are compared: other content is an error of high confidence, the same
content a note. Names that many projects use for folders of their own (`tests`, `utils` …) are not claimed. A
file `torch.py` or `numpy.py` stands in the place of the package; other files of a package's name may be one's
own (`evaluate.py`).

## What fools it

A copy that brings a RECORD of its own; a copy whose package has another name; a module imported under a
false name. Such code is sealed by its content, and the laws of training look at what it does.

## What to do

If it is a checkout that somebody works on, install it (`pip install -e`): then its place is recorded. If
not, find out what put its folder on the path: PYTHONPATH, a `.pth` file, the working directory.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from ....core.coverage import Coverage
from ....core.finding import Finding, Location, finding_of
from ....core.observation import ModuleChecked, Observation
from ....core.rule import Confidence, Rule, Severity
from .evidence import module_evidence

MAX_PER_DISTRIBUTION = 20
MAX_DISTRIBUTIONS = 1_000


class LoadedElsewhere:
    """One finding per differing file, one note per distribution for identical ones."""

    rule: ClassVar[Rule] = Rule(
        "code-loaded-elsewhere",
        "code-identity",
        "A module was loaded from elsewhere than its distribution's RECORD says",
        Severity.ERROR,
        Confidence.HIGH,
    )
    takes: ClassVar[tuple[type[Observation], ...]] = (ModuleChecked,)

    def __init__(self) -> None:
        self._paths: dict[str, set[str]] = {}
        self._noted: set[str] = set()
        self._coverage = Coverage(self.rule.law, "modules")

    def observe(self, observation: Observation) -> Iterator[Finding]:
        """Judge a checked module."""
        if not isinstance(observation, ModuleChecked) or observation.source != "elsewhere":
            return
        name = observation.distribution
        if observation.expected and observation.source_digest == observation.expected:
            if name not in self._noted and len(self._noted) < MAX_DISTRIBUTIONS:
                self._noted.add(name)
                yield self._finding(observation, identical=True)
            return
        if name not in self._paths and len(self._paths) >= MAX_DISTRIBUTIONS:
            return
        paths = self._paths.setdefault(name, set())
        if observation.path in paths:
            return
        if len(paths) >= MAX_PER_DISTRIBUTION:
            self._coverage.skip(f"more than {MAX_PER_DISTRIBUTION} files of {name}: the rest is not listed")
            return
        paths.add(observation.path)
        yield self._finding(observation, identical=False)

    def _finding(self, module: ModuleChecked, *, identical: bool) -> Finding:
        content = "with the recorded content" if identical else "with other content"
        if identical:
            severity, confidence = Severity.NOTE, Confidence.HIGH
        else:
            severity = Severity.ERROR
            confidence = Confidence.HIGH if module.expected else Confidence.MEDIUM
        return finding_of(
            self.rule,
            module.module or module.path,
            f"{module.module} was loaded from {module.path} and not from where {module.distribution} is "
            f"installed, {content}",
            rank=module.origin.rank,
            locations=(Location(module.path, module.first_line),),
            evidence=module_evidence(module),
            severity=severity,
            confidence=confidence,
        )

    def finish(self) -> Iterator[Finding]:
        """Nothing is left for the end."""
        return iter(())

    def coverage(self) -> Coverage:
        """Modules are counted by ``code-bytecode-forged``, once for the law."""
        return self._coverage
