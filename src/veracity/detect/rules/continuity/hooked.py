"""What the program's own step hooks change in weights and optimizer state: a habit, a projection, or neither.

Hooks clip weights, project them, normalise them or merge an average into them, at every step or every few
steps. What a program does from its first steps on is its own way. One that begins to do so later is told as a
warning, unless it looks like a bound that is met late: some values shrink, and not all by one factor.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ....core.finding import Evidence, Finding, Location, finding_of
from ....core.observation import HooksMoved
from ....core.quantity import quantity
from ....core.rule import Rule, Severity
from .compare import name_of

EARLY = 10
MAX_KEPT = 1024
SHOWN = 4
_EXACT, _ROUGH = 1e-5, 1e-2
_NEAR, _SOME = 0.95, 0.9


@dataclass(slots=True)
class _Course:
    """When the hooks before, or after, one optimizer's steps changed something, and what was told of it."""

    first: int
    last: int
    early: int = 0
    period: int = 0
    told: set[Severity] = field(default_factory=set)

    def is_habit(self, step: int) -> bool:
        """Whether a change at ``step`` goes on as it was in the first steps.

        Several of them changed something then, or one did: a hook may act at every tenth step, so the same
        distance again is no change of course, the first one counted from the beginning.
        """
        if step < EARLY:
            self.early += 1
            return True
        gap = step - self.last
        if self.early == 1 and self.period == 0 and gap in (self.first + 1, self.first):
            self.period = gap
        return self.early > 1 or (self.period > 0 and gap % self.period == 0)


class HookCourses:
    """What hooks did so far, by process, optimizer, the one that stepped, and side of the step."""

    def __init__(self, rule: Rule) -> None:
        self._rule = rule
        self._courses: OrderedDict[tuple[int, int, int, bool], _Course] = OrderedDict()

    def take(self, seen: HooksMoved, names: Sequence[str]) -> Iterator[Finding]:
        """A note the first time, and a warning the first time that it is none of what programs do."""
        key = (seen.origin.pid, seen.optimizer, seen.stepping, seen.before)
        course = self._courses.get(key)
        if course is None:
            course = self._courses[key] = _Course(seen.step, seen.step)
            if len(self._courses) > MAX_KEPT:
                self._courses.popitem(last=False)
        bounds = shrinks(seen) if course.early else is_projection(seen)
        innocent = course.is_habit(seen.step) or (seen.since < EARLY and bounds)
        course.last = seen.step
        severity = Severity.NOTE if innocent else Severity.WARNING
        if severity in course.told:
            return
        course.told.add(severity)
        yield self._finding(seen, names, severity)

    def _finding(self, seen: HooksMoved, names: Sequence[str], severity: Severity) -> Finding:
        what = _what(seen.fields)
        tensors = ", ".join(name_of(tensor, names) for tensor in seen.tensors[:3])
        more = f" and {len(seen.tensors) - 3} more" if len(seen.tensors) > 3 else ""
        side = "before" if seen.before else "after"
        hooks = " or ".join(name for name in seen.hooks) or "a hook"
        pairs = list(zip(seen.former, seen.later, strict=False))[:SHOWN]
        evidence = Evidence(
            f"{seen.changed} of {quantity(seen.compared, 'sampled element')} of these tensors changed",
            ", ".join(f"{former:.9g}" for former, _ in pairs),
            ", ".join(f"{later:.9g}" for _, later in pairs),
        )
        whose = "" if seen.optimizer == seen.stepping else f" of optimizer {seen.stepping}"
        return finding_of(
            self._rule,
            f"{what} of {tensors}{more}",
            f"{what} changed at step {seen.step} outside the optimizer's own step: a step hook of the "
            f"program ({hooks}) acted {side} the step{whose}",
            rank=seen.origin.rank,
            first_step=seen.step,
            locations=tuple(
                Location(path, line) for path, line in zip(seen.paths, seen.lines, strict=False) if path
            ),
            evidence=(evidence,) if pairs else (),
            severity=severity,
        )


def _what(fields: Sequence[str]) -> str:
    state = any(name != "param" for name in fields)
    if "param" in fields:
        return "weights and optimizer state" if state else "weights"
    return "optimizer state"


def shrinks(seen: HooksMoved) -> bool:
    """Whether nothing but weights changed, and each came nearer to zero, as under a bound on a norm."""
    pairs = list(zip(seen.former, seen.later, strict=False))
    return (
        bool(pairs)
        and list(seen.fields) == ["param"]
        and all(abs(later) < abs(former) and later * former >= 0 for former, later in pairs)
    )


def is_projection(seen: HooksMoved) -> bool:
    """Whether weights shrank towards zero as by clipping or a bound on norms, and not as by scaling."""
    if not shrinks(seen):
        return False
    ratios = [later / former for former, later in zip(seen.former, seen.later, strict=False)]
    least, spread = min(ratios), max(ratios) - min(ratios)
    # One factor for all is scaling, which 16-bit weights show roughly; a bound cuts a few by a little.
    alike = spread <= _EXACT or (spread <= _ROUGH and least < _NEAR)
    return not alike or (seen.changed <= _SOME * seen.compared and least >= _NEAR)
