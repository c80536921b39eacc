"""What a finding of ``update-not-declared`` says: where, since when, by how much, and what it amounts to."""

from __future__ import annotations

from dataclasses import replace

from ....core.contract import OptimizerDeclaration
from ....core.errors import EvidenceError
from ....core.finding import Evidence, Finding, Location, finding_of
from ....core.observation import StepRecord
from ....core.quantity import quantity
from ....core.rule import Rule, Severity
from .diagnosis import diagnose
from .formulas import SgdSettings
from .judgement import ARITHMETIC, COUNT, STATE, Case, Deviation
from .reference.sampled import ReferenceSettings
from .settings import Settings, settings_of

MAX_NAMES = 4


def account_of(
    rule: Rule,
    kind: str,
    step: StepRecord,
    declared: OptimizerDeclaration,
    cases: list[Case],
    name: str,
    *,
    observed: bool = False,
) -> Finding:
    """The finding for deviations of one ``kind`` in ``cases`` at ``step`` from the formula called ``name``.

    ``observed``: the formula was not declared but found to be the one of the first steps.
    """
    tensors = [declared.tensors[case.sample.tensor].name for case in cases]
    listed = _listing(list(dict.fromkeys(tensors)))
    evidence = _worst_of_each_field(kind, cases, tensors)
    places = [Location(declared.path, declared.line)] if declared.path else []
    settings, as_declared = cases[0].settings, f"{name} as declared"
    if isinstance(settings, ReferenceSettings):
        places.append(Location(settings.reference.path, settings.reference.line))
        as_declared = name
    if kind == ARITHMETIC:
        words = diagnose(name, cases, _in_force(name, step, declared, cases))
        message = f"step {step.step}: the update of {listed} is not {name}'s"
        if words:
            message += f"; it equals {words}" if words.startswith(name) else f"; {words}"
            evidence = (Evidence("diagnosis", expected=as_declared, observed=words), *evidence)
    elif kind == COUNT:
        message = f"step {step.step}: {name}'s step count of {listed} did not advance by one"
    elif kind == STATE:
        missing = ", ".join(
            sorted({item.name for case in cases for item in case.deviations if item.kind == STATE})
        )
        message = f"step {step.step}: {as_declared} keeps {missing} for {listed}, and there is none"
        evidence = ()
    else:
        why = "the loss scaler skipped the step" if step.skipped else "there was no gradient"
        message = f"step {step.step}: {listed} changed although {why}"
    severity = Severity.WARNING if observed else None
    if observed:
        message += f"; until then {declared.class_name[:120]} stepped by this formula"
    if kind == ARITHMETIC and all(_of_known_defect(step, declared, case) for case in cases):
        severity = Severity.WARNING
        message += "; torch's own fused kernel for the CPU is known to do this (pytorch issue 191763)"
    return finding_of(
        rule,
        f"optimizer {declared.index} ({name}): {listed}",
        message,
        rank=step.origin.rank,
        first_step=step.step,
        locations=tuple(places),
        evidence=evidence,
        severity=severity,
    )


def _of_known_defect(step: StepRecord, declared: OptimizerDeclaration, case: Case) -> bool:
    """Whether torch's fused SGD for narrow formats, which skips whole vectors on the CPU, made this step."""
    group = step.groups[declared.tensors[case.sample.tensor].group]
    return isinstance(case.settings, SgdSettings) and case.precision.weak and bool(group.get("fused"))


def _in_force(
    name: str, step: StepRecord, declared: OptimizerDeclaration, cases: list[Case]
) -> list[Settings]:
    """Each case's settings if the parameter group were believed in everything."""
    result = []
    for case in cases:
        tensor = declared.tensors[case.sample.tensor]
        was, now = declared.groups[tensor.group], step.groups[tensor.group]
        try:
            trusted = settings_of(name, was, now, trust_all=True, tensor=tensor)
            trusted = replace(trusted, unscaled=case.settings.unscaled)
        except EvidenceError:
            trusted = case.settings  # the group holds no usable values, so they explain nothing
        result.append(trusted)
    return result


def _worst_of_each_field(kind: str, cases: list[Case], tensors: list[str]) -> tuple[Evidence, ...]:
    worst: dict[str, tuple[Deviation, str, int]] = {}
    counts: dict[str, int] = {}
    for case, tensor in zip(cases, tensors, strict=True):
        for item in case.deviations:
            if item.kind != kind:
                continue
            counts[item.name] = counts.get(item.name, 0) + 1
            if item.name not in worst or item.ratio > worst[item.name][0].ratio:
                worst[item.name] = (item, tensor, case.sample.count)
    return tuple(
        Evidence(
            f"{name} of {tensor}, sampled element {item.position + 1} of {size}",
            expected=f"{item.expected:.9g}",
            observed=f"{item.observed:.9g}",
            excerpt=(_measure(item), f"{name} deviates in {quantity(counts[name], 'sampled value')}"),
        )
        for name, (item, tensor, size) in worst.items()
    )


def _measure(item: Deviation) -> str:
    if not item.bound:
        return "no difference is allowed"
    apart = abs(item.observed - item.expected)
    return f"differs by {apart:.3g}, {item.ratio:.3g} times the rounding bound of {item.bound:.3g}"


def _listing(names: list[str]) -> str:
    shown = ", ".join(name[:80] for name in names[:MAX_NAMES])
    rest = len(names) - MAX_NAMES
    return f"{shown} and {rest} more" if rest > 0 else shown
