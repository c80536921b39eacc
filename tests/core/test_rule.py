from __future__ import annotations

import pytest

from veracity.core.rule import Confidence, Rule, Severity


@pytest.mark.parametrize("slug", ["update-not-declared", "time-stall", "a-b"])
def test_an_id_is_a_family_and_a_slug(slug: str) -> None:
    assert Rule(slug, "law", "title", Severity.NOTE, Confidence.LOW).id == slug


@pytest.mark.parametrize(
    "slug", ["", "time", "Time-stall", "time_stall", "time-", "-stall", "time--x", "time-x\n", "t1-x"]
)
def test_anything_else_is_a_mistake_of_the_author(slug: str) -> None:
    with pytest.raises(ValueError, match="kebab-case"):
        Rule(slug, "law", "title", Severity.NOTE, Confidence.LOW)


def test_severities_are_ordered_by_weight() -> None:
    assert sorted(Severity, key=lambda one: -one.weight) == [Severity.ERROR, Severity.WARNING, Severity.NOTE]
