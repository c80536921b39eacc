from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path

import pytest

from veracity.core.observation import Gap, Observation
from veracity.core.origin import Origin, Trust
from veracity.detect.detector import Detector
from veracity.detect.registry import DETECTORS, RULES

FAMILIES = {
    "checkpoint", "code", "environment", "contract", "update", "schedule", "gradient", "data", "randomness",
    "continuity", "replica", "metric", "time", "life", "channel", "record",
}  # fmt: skip
HEADINGS = [
    "## The law",
    "## What breaks it",
    "## How it is checked",
    "## What fools it",
    "## What to do",
]
ORIGIN = Origin("monitor", Trust.SERVICE, 1, 0, 0, 0)

each = pytest.mark.parametrize("detector", DETECTORS, ids=lambda one: one.rule.id)


def module_of(detector: type[Detector]) -> Path:
    return Path(inspect.getfile(detector))


def test_ids_are_unique_and_each_detector_is_asked_once() -> None:
    assert len({rule.id for rule in RULES}) == len(RULES) == len(set(DETECTORS))
    assert tuple(detector.rule for detector in DETECTORS) == RULES


def test_every_rule_file_is_in_the_list() -> None:
    root = module_of(DETECTORS[0]).parents[1]
    made = re.compile(r"^    rule\b.*= Rule\(", re.MULTILINE)
    written = {path for path in root.rglob("*.py") if made.search(path.read_text("utf-8"))}
    assert written == {module_of(detector) for detector in DETECTORS}


@each
def test_an_id_is_the_family_of_the_folder_and_the_name_of_the_file(detector: type[Detector]) -> None:
    family, _, slug = detector.rule.id.partition("-")
    assert family in FAMILIES
    assert module_of(detector).parent.name == family
    assert module_of(detector).stem == slug.replace("-", "_")
    assert detector.rule.title


@each
def test_a_docstring_says_what_people_need_to_know(detector: type[Detector]) -> None:
    text = sys.modules[detector.__module__].__doc__ or ""
    assert [line for line in text.splitlines() if line.startswith("#")] == HEADINGS
    parts = text.split("\n## ")
    assert all(len(part.strip().splitlines()) >= 2 for part in parts[1:])
    assert parts[0].strip()


@each
def test_a_fresh_detector_has_nothing_to_say(detector: type[Detector]) -> None:
    one, other = detector(), detector()
    for observation in (Gap(ORIGIN, "what", "why"), Observation(ORIGIN)):
        assert list(one.observe(observation)) == []
    assert list(one.finish()) == []
    coverage = one.coverage()
    assert coverage.law == detector.rule.law
    assert coverage.checked == 0
    assert not coverage.stopped
    coverage.skip("a reason of this one")
    assert "a reason of this one" not in other.coverage().reasons
