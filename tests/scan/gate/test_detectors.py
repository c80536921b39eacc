"""The table of rules: each observation that a rule takes leads to it, in the order of the lists."""

from __future__ import annotations

from veracity.core import observation
from veracity.core.observation import Gap, Observation
from veracity.detect.coderules import CODE_DETECTORS
from veracity.detect.filerules import FILE_DETECTORS
from veracity.scan.gate.detectors import GROUPS, asked_about

EVERY = (*FILE_DETECTORS, *CODE_DETECTORS)


def kinds() -> list[type[Observation]]:
    found = [getattr(observation, name) for name in observation.__all__]
    return [one for one in found if issubclass(one, Observation)]


def test_each_rule_is_asked_about_all_that_it_takes_in_the_order_of_the_lists() -> None:
    for kind in kinds():
        assert list(asked_about(kind)) == [one for one in EVERY if kind in one.takes], kind


def test_no_row_leads_nowhere() -> None:
    assert sorted(GROUPS) == sorted({kind.__name__ for one in EVERY for kind in one.takes})
    assert asked_about(Gap) == ()
