"""An installed module is not the text its distribution was installed with.

## The law

Code identity: what executes is what was sealed. For a file of an installed distribution that is the text
whose SHA-256 the installer wrote into RECORD.

## What breaks it

A file in `site-packages` edited after installation: by hand, by a script, by a patch that a colleague once
needed, or by somebody who wanted every job on the machine to train a little worse.

## How it is checked

The monitor, outside the training process, digests the text that was executed and compares it with RECORD.
Where pip or uv installed the distribution, RECORD is complete and a difference is certain (error, high);
other installers rewrite files at times (error, medium). The lines that changed are shown when the machine
has seen the unaltered text before.

## What fools it

RECORD lies in the same writable folder: who edits both is not found here. The laws of training look at what
the code does, whoever wrote it. Distributions without digests, editable installs and files of no
distribution are sealed by their content only.

## What to do

Read the lines. If nobody answers for them, reinstall the distribution (`pip install --force-reinstall
--no-deps NAME==VERSION`), repeat the run, and keep this run as evidence. File times are what the file's
owner says, not proof of when the edit was made.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from ....core.coverage import Coverage
from ....core.finding import Finding, Location, finding_of
from ....core.observation import ModuleChecked, Observation
from ....core.rule import Confidence, Rule, Severity
from .evidence import module_evidence

COMPLETE_INSTALLERS = frozenset({"pip", "uv"})
MAX_FINDINGS = 200


class SourceAltered:
    """One finding per altered file and content."""

    rule: ClassVar[Rule] = Rule(
        "code-source-altered",
        "code-identity",
        "An installed module was edited after installation",
        Severity.ERROR,
        Confidence.HIGH,
    )
    takes: ClassVar[tuple[type[Observation], ...]] = (ModuleChecked,)

    def __init__(self) -> None:
        self._reported: set[tuple[str, str]] = set()
        self._coverage = Coverage(self.rule.law, "modules")

    def observe(self, observation: Observation) -> Iterator[Finding]:
        """Judge a checked module."""
        if not isinstance(observation, ModuleChecked) or observation.source != "altered":
            return
        key = (observation.path, observation.source_digest)
        if key in self._reported:
            return
        if len(self._reported) >= MAX_FINDINGS:
            self._coverage.skip(f"more than {MAX_FINDINGS} altered files: the rest is not listed")
            return
        self._reported.add(key)
        certain = observation.installer in COMPLETE_INSTALLERS and observation.expected != ""
        where = f" from line {observation.first_line} on" if observation.first_line else ""
        yield finding_of(
            self.rule,
            observation.module or observation.path,
            f"{observation.path} is not the file that {observation.distribution} was installed with; "
            f"it differs{where}",
            rank=observation.origin.rank,
            locations=(Location(observation.path, observation.first_line),),
            evidence=module_evidence(observation),
            confidence=Confidence.HIGH if certain else Confidence.MEDIUM,
        )

    def finish(self) -> Iterator[Finding]:
        """Nothing is left for the end."""
        return iter(())

    def coverage(self) -> Coverage:
        """Modules are counted by ``code-bytecode-forged``, once for the law."""
        return self._coverage
