"""Hooks that begin to act in mid-training, and those that may."""

from __future__ import annotations

from dataclasses import replace

from veracity.core.contract import LoaderDeclaration
from veracity.core.finding import Finding
from veracity.core.observation import HookActed, LoaderStarted, Observation
from veracity.core.origin import Origin, Trust
from veracity.core.rule import Severity
from veracity.detect.rules.gradient.hook_began import HookBegan


def acted(
    step: int, relation: str = "other", ratio: float = 0.0, norm: float = 1.0, rank: int = 0
) -> HookActed:
    origin = Origin("guard", Trust.USERLAND, 100 + rank, rank, 0, 0)
    return HookActed(origin, "tensor", "<lambda>", "train.py", 7, step, step, relation, ratio, norm, 0.5)


def judge(*records: Observation) -> list[Finding]:
    detector = HookBegan()
    return [*(one for record in records for one in detector.observe(record)), *detector.finish()]


def test_a_change_is_found_once_whichever_rank_shows_it() -> None:
    found = judge(acted(12), acted(12, rank=1), acted(13))
    assert [(one.severity, one.first_step) for one in found] == [(Severity.WARNING, 12)]
    assert "train.py" in str(found[0].locations)


def test_clipping_by_value_and_clearing_are_no_findings() -> None:
    assert (
        judge(*(acted(step, relation) for step in range(9, 30) for relation in ("clamped", "cleared"))) == []
    )


def test_one_factor_for_different_norms_is_no_clipping() -> None:
    assert judge(acted(9, "scaled", 0.9, 1.0), acted(10, "scaled", 0.9, 2.0)) == []
    found = judge(*(acted(9 + at, "scaled", 0.9, 1.0 + at) for at in range(3)))
    assert [one.first_step for one in found] == [9]
    # A norm clipped to 1: the factor is 1 / norm.
    assert judge(*(acted(9 + at, "scaled", 1 / (2 + at), 2.0 + at) for at in range(9))) == []
    # The same gradient again and again tells nothing.
    assert judge(*(acted(9 + at, "scaled", 0.9, 1.0) for at in range(9))) == []


def test_what_begins_with_a_pass_is_a_note() -> None:
    loader = LoaderDeclaration(0, "d", 1, 1, False, "s", "b", 0, False, False)
    found = judge(LoaderStarted(acted(12).origin, loader, 0, 0), acted(12))
    assert [one.severity for one in found] == [Severity.NOTE]


def of_step(ratio: float, norm: float, quiet: float, usual: float, relation: str = "scaled") -> HookActed:
    one = acted(12, relation, ratio, norm)
    return replace(one, hook="step", quiet=quiet, usual=usual)


def test_a_factor_before_the_step_that_no_clipping_has_is_found_at_once() -> None:
    for told in (
        of_step(1.5, 9.0, 1.0, 1.0),  # larger
        of_step(0.9, 1.0, 1.2, 1.0),  # smaller, though larger ones were left alone
        of_step(0.5, 1.5, 1.2, 1.0),  # far below what is usual
        of_step(0.0, 1.0, 1.0, 1.0, "other"),
    ):
        assert [one.severity for one in judge(told)] == [Severity.WARNING]


def test_a_factor_before_the_step_that_may_be_clipping_is_none() -> None:
    assert judge(of_step(0.5, 2.6, 1.2, 1.0)) == []
    assert judge(of_step(0.9, 1.5, 0.0, 0.0)) == []
    assert judge(replace(of_step(1.5, 9.0, 1.0, 1.0), hook="tensor")) == []
