"""The data that a data set holds was written into in mid-run.

## The law

A data set's tensors stay what they were while a pass over them goes on.

## What breaks it

Items overwritten, labels exchanged, noise added to the tensors or arrays that a data set keeps in memory:
all batches from then on are of other data than was approved.

## How it is checked

Of tensors in the attributes of a map-style data set (and of those that it wraps) the version counter is read
at each batch; of these and of NumPy arrays elements at places chosen by a key are read at every fourth batch.
What stands in the place of one is looked at, too: another of its kind that is the same in three quarters or
more of these elements is an edited copy, if not all that the data set holds was exchanged. After
ten batches without a change, one in the middle of a pass is a finding; one between two passes, or made with
the first batch of one, is a note: programs renew their labels there, or begin to do so batch by batch. Data
that is written from the first batches on is the program's own
working memory, and is left alone.

## What fools it

Data in files, in workers, or in a list of many small tensors. A copy that differs in more than a quarter.
Single elements changed in an array, or through ``.data``. Code in ``__getitem__`` or a transform, that
gives back other items than are held.

## What to do

Look for writes in place to the tensors named. Programs that change their data do so between passes, or from
the start.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from ....core.coverage import Coverage
from ....core.finding import Evidence, Finding, finding_of
from ....core.observation import BatchesDrawn, DatasetWritten, Observation
from ....core.quantity import quantity
from ....core.rule import Confidence, Rule, Severity

MAX_LOADERS = 4096
SETTLED = 10


class SetChanged:
    """Looks at the first change of each loader's data."""

    rule: ClassVar[Rule] = Rule(
        "data-set-changed",
        "data-content",
        "Data was written into in the middle of a pass",
        Severity.WARNING,
        Confidence.HIGH,
    )
    takes: ClassVar[tuple[type[Observation], ...]] = (BatchesDrawn, DatasetWritten)

    def __init__(self) -> None:
        self._coverage = Coverage(self.rule.law, "steps")
        self._changed: set[tuple[int, int]] = set()
        self._reported: set[int] = set()
        self._reached: dict[tuple[int, int], tuple[int, int]] = {}

    def observe(self, observation: Observation) -> Iterator[Finding]:
        """One finding for each loader, whichever rank shows it first."""
        if not isinstance(observation, (BatchesDrawn, DatasetWritten)):
            return
        key = observation.origin.pid, observation.loader
        if isinstance(observation, BatchesDrawn):
            if key in self._reached or len(self._reached) < MAX_LOADERS:
                self._reached[key] = observation.iteration, observation.delivered
            return
        if key in self._changed or len(self._changed) >= MAX_LOADERS:
            return
        self._changed.add(key)
        if observation.deliveries >= SETTLED and observation.loader not in self._reported:
            self._reported.add(observation.loader)
            iteration, delivered = self._reached.get(key, (0, 0))
            # How far the loader is comes with each step's record: no step, or one, was made in this pass.
            begun = iteration < observation.iteration or (iteration > 0 and delivered <= 1)
            yield self._finding(observation, with_first=begun)

    def finish(self) -> Iterator[Finding]:
        """Nothing is left for the end."""
        yield from ()

    def coverage(self) -> Coverage:
        """Nothing of its own: steps are what the law is counted by."""
        return self._coverage

    def _finding(self, written: DatasetWritten, *, with_first: bool) -> Finding:
        names = ", ".join(written.changed[:5])
        when = "with the first batch of a pass" if with_first else "in the middle of a pass"
        when = "between two passes" if written.at_begin else when
        return finding_of(
            self.rule,
            f"loader {written.loader}: {names}",
            f"before step {written.before_step} the data that loader {written.loader} reads from ({names}) "
            f"was written into, {when}, after {quantity(written.deliveries, 'batch')} without a change",
            rank=written.origin.rank,
            first_step=written.before_step,
            severity=Severity.NOTE if written.at_begin or with_first else None,
            evidence=(Evidence(names, expected="unchanged", observed="written, or an edited copy"),),
        )
