"""What a finding of ``schedule-drift`` says: which group, since when, and how far the rate is off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ....core.contract import Hyper, OptimizerDeclaration
from ....core.finding import Evidence, Finding, Location, finding_of
from ....core.observation import StepRecord
from ....core.rule import Confidence, Rule, Severity
from .course import Course


def rates_of(groups: Sequence[Mapping[str, Hyper]]) -> list[float] | None:
    """The groups' learning rates; None when one cannot be read or there is no group."""
    rates = []
    for group in groups:
        value = group.get("lr")
        if not isinstance(value, (int, float)):
            return None
        rates.append(float(value))
    return rates or None


def drift_finding(
    rule: Rule,
    step: StepRecord,
    course: Course,
    rates: Sequence[float],
    declared: OptimizerDeclaration | None,
) -> Finding:
    """The rates in force are not those of the declared schedule; both have the same number of groups."""
    return _finding(
        rule,
        step,
        course,
        rates,
        course.lrs,
        declared,
        "the declared schedule gives",
        rule.severity,
        rule.confidence,
    )


def left_finding(
    rule: Rule,
    step: StepRecord,
    course: Course,
    rates: Sequence[float],
    declared: OptimizerDeclaration | None,
) -> Finding:
    """The schedule cannot be derived, and the rates in force are not those that its scheduler left."""
    left = course.left or []
    return _finding(
        rule, step, course, rates, left, declared, "the scheduler left", Severity.WARNING, Confidence.MEDIUM
    )


def _finding(
    rule: Rule,
    step: StepRecord,
    course: Course,
    rates: Sequence[float],
    due: Sequence[float],
    declared: OptimizerDeclaration | None,
    source: str,
    severity: Severity,
    confidence: Confidence,
) -> Finding:
    group = max(range(len(rates)), key=lambda index: abs(rates[index] - due[index]))
    seen, wanted = rates[group], due[group]
    times = f", {seen / wanted:.6g} times as much" if wanted else ""
    return finding_of(
        rule,
        f"optimizer {step.optimizer}, group {group}: lr",
        f"step {step.step}: lr of parameter group {group} is {seen:.9g}; {source} {wanted:.9g}{times}",
        rank=step.origin.rank,
        first_step=step.step,
        locations=(Location(declared.path, declared.line),) if declared is not None and declared.path else (),
        evidence=(Evidence("lr", expected=repr(wanted), observed=repr(seen), excerpt=_positions(course)),),
        severity=severity,
        confidence=confidence,
    )


def _positions(course: Course) -> tuple[str, ...]:
    return tuple(
        f"{item.declaration.class_name.rpartition('.')[2][:80]} at position {item.position}"
        for item in course.schedules.values()
    )
