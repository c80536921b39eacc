"""Loss or gradient norm is unlike that of all earlier runs of the same contract.

## The law

None: this is a weak signal. Runs of one contract that held differ by chance; one that is odder than each of
them may have been changed where no other law looks.

## What breaks it

Other data of the same size, an edited program, a learning that was slowed, labels that leak; and just as well
an honest change that the contract does not show, such as another way of initialising.

## How it is checked

When a run has held, its loss and gradient norm are kept as means of logarithms over windows of steps: eight
steps each at first, about a quarter of the steps made so far later. Each window is the mean of eight values
without the largest and the smallest, so that no single step decides. At the first step of a run those of the
64 newest runs with the same contract are taken (optimizers, schedules, tensors, loaders, sizes, ranks and
what was loaded; no seeds, paths or times). Of runs that began with the same random numbers one counts; but
when 9 of them began with this run's numbers on software and a processor like this one's, it is compared with
these.

Each run is measured against all the others: its largest distance from their median, in units of their spread
(at least 0.1 %), over all windows, series, and means of 1, 4 and 12 windows. The run is reported at the
first window at which its distance is larger, by a tenth, than that of each earlier run. With n earlier runs
that came as far, that happens by then to a run that is like them with a probability of at most 1 / (n + 1),
whatever the distribution: each of n + 1 runs that differ by chance alone is as likely as any other to be the
oddest. Where fewer than 9 came as far nothing is compared. The bound holds on average over what the earlier
runs may be, not for each set of them. The runs it was compared with are in the evidence and in the record.

It never breaks a run. The guard is asked to look more closely at the steps from there on, as after an alarm
of its own.

## What fools it

What is small beside the differences between honest runs, or was in one of the earlier ones too: a run that
was reported and held is kept like any other, since leaving it out would make the bound untrue. Whoever can
write to the home can edit what is kept there. Values that are not positive or not finite are passed over; so
are windows of which the budget let too much pass, steps after weights were set back in mid-run, series after
the eighth, ranks other than 0, and processes after the first. The differences between earlier runs are taken
for chance: after a change of data, program or software that the contract does not show the first run may be
reported though nothing is wrong, the next ones seldom; and so may each run of a series in which such a thing
is raised step by step.

## What to do

See what changed since the runs it names: program, data, software. If nothing did, train again from the last
checkpoint before these steps, or from the start with the same seeds, and compare.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import exp, isfinite
from typing import ClassVar

from ....core.coverage import Coverage
from ....core.finding import Evidence, Finding, finding_of
from ....core.observation import (
    EarlierRun,
    EarlierRuns,
    Observation,
    OptimizerDeclared,
    StateRestored,
    StepRecord,
)
from ....core.profile import Course, Mean, subject_of
from ....core.quantity import quantity
from ....core.rule import Confidence, Rule, Severity
from ....core.windows import WINDOWS, span
from .standing import FEWEST, FLOOR, Odd, Profile, Standing

MOST = 64
NOT_ASKED = "what earlier runs were like was not noted at the first step"


class UnlikeEarlier:
    """One note in a run. Keeps the windows of up to 64 earlier runs."""

    rule: ClassVar[Rule] = Rule(
        "metric-unlike-earlier",
        "earlier-runs",
        "Loss or gradient norm is unlike that of all earlier runs",
        Severity.NOTE,
        Confidence.LOW,
    )
    takes: ClassVar[tuple[type[Observation], ...]] = (
        EarlierRuns,
        OptimizerDeclared,
        StateRestored,
        StepRecord,
    )

    def __init__(self) -> None:
        self._coverage = Coverage(self.rule.law, "windows")
        self._course = Course()
        self._standing: Standing | None = None
        self._runs: list[EarlierRun] = []
        self._why = NOT_ASKED
        self._reported = False

    def observe(self, observation: Observation) -> Iterator[Finding]:
        """The first window that makes this run the oddest."""
        if isinstance(observation, EarlierRuns):
            self._asked(observation)
        elif isinstance(observation, (OptimizerDeclared, StateRestored, StepRecord)):
            yield from self._take(observation)

    def finish(self) -> Iterator[Finding]:
        """Say why nothing could be compared where not one window is complete."""
        if not self._coverage.possible:
            self._coverage.skip("no eight looks at a loss or a norm make up a window")
        yield from ()

    def coverage(self) -> Coverage:
        """Windows that enough earlier runs have as well."""
        return self._coverage

    def _asked(self, asked: EarlierRuns) -> None:
        if self._standing is not None or self._course.pid is not None:
            return
        runs = comparable(asked)
        if len(runs) < FEWEST:
            self._why = f"{quantity(len(runs), 'earlier held run')} of this contract, {FEWEST} are needed"
            if len(runs) < len(asked.runs):
                self._why += f" ({len(asked.runs)} with repeats of the same random numbers)"
            return
        self._runs = runs
        self._standing = Standing([profile_of(run) for run in runs])

    def _take(self, observation: Observation) -> Iterator[Finding]:
        for mean in self._course.take(observation):
            known = self._standing is not None and self._standing.compares(mean.series, mean.window)
            why = f"fewer than {FEWEST} earlier runs came as far" if self._standing else self._why
            self._coverage.count(checked=known, reason="" if known else why)
            if self._standing is not None and not self._reported:
                odd = self._standing.add(mean.series, mean.window, mean.mean)
                if odd is not None:
                    self._reported = True
                    yield self._finding(mean, odd, observation.origin.rank)

    def _finding(self, mean: Mean, odd: Odd, rank: int) -> Finding:
        first, last = span(max(0, odd.window - odd.length + 1))[0], span(odd.window)[1]
        count, low, high = odd.runs, exp(odd.others[0]), exp(odd.others[-1])
        subject = subject_of(mean.series)
        return finding_of(
            self.rule,
            subject,
            f"steps {first} to {last}: the {subject} is {exp(odd.mean):.4g} in the mean, that of {count} "
            f"earlier runs of this contract {low:.4g} to {high:.4g}; this run is odder than each of them, as "
            f"at most 1 in {count + 1} runs is by chance; the steps from here on are looked at more closely, "
            "and training them again would tell more",
            rank=rank,
            first_step=first,
            evidence=(
                Evidence(subject, expected=f"{low:.6g} to {high:.6g}", observed=f"{exp(odd.mean):.9g}"),
                Evidence("distance in spreads", observed=f"{odd.score:.3g}"),
                Evidence("compared with", excerpt=tuple(run.run for run in self._runs)),
            ),
        )


def comparable(asked: EarlierRuns) -> list[EarlierRun]:
    """The runs to compare with: repeats of this run where there are enough, else one of each draw.

    Repeats of one seed say nothing of how far another seed is from them.
    """
    runs = asked.runs[:MOST]
    repeats = [run for run in runs if asked.seed and (run.seed, run.bits) == (asked.seed, asked.bits)]
    if len(repeats) >= FEWEST:
        return repeats
    found: list[tuple[EarlierRun, Profile]] = []
    seeds: set[str] = set()
    for run in runs:
        profile = profile_of(run)
        known = run.seed and run.seed in seeds
        if profile and not known and not any(same(profile, other) for _, other in found):
            seeds.add(run.seed)
            found.append((run, profile))
    return [run for run, _ in found]


def same(one: Profile, other: Profile) -> bool:
    """Whether two runs differ by no more than the last bits, where both have windows."""
    met = False
    for name, windows in one.items():
        others = other.get(name, {})
        for at, mean in windows.items():
            if at in others:
                met = True
                if abs(mean - others[at]) >= FLOOR:
                    return False
    return met


def profile_of(run: EarlierRun) -> dict[str, dict[int, float]]:
    """A run's windows by series; what is not a window or no number is left out."""
    profile = {series.name: _windows(series.windows, series.means) for series in run.series}
    return {name: windows for name, windows in profile.items() if windows}


def _windows(windows: Sequence[int], means: Sequence[float]) -> dict[int, float]:
    pairs = zip(windows, means, strict=False)
    return {at: mean for at, mean in pairs if 0 <= at < WINDOWS and isfinite(mean) and abs(mean) < 700.0}
