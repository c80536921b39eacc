from __future__ import annotations

import ast
import inspect
import re
import sys
from pathlib import Path

import pytest

from veracity.core import observation
from veracity.core.observation import Gap, Observation
from veracity.core.origin import Origin, Trust
from veracity.detect.detector import Detector
from veracity.detect.fromguard import FROM_THE_GUARD
from veracity.detect.registry import EVERY, RULES

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

each = pytest.mark.parametrize("detector", EVERY, ids=lambda one: one.rule.id)


def module_of(detector: type[Detector]) -> Path:
    return Path(inspect.getfile(detector))


def test_ids_are_unique_and_each_detector_is_asked_once() -> None:
    assert len({rule.id for rule in RULES}) == len(RULES) == len(set(EVERY))
    assert tuple(detector.rule for detector in EVERY) == RULES


def test_every_rule_file_is_in_the_list() -> None:
    root = module_of(EVERY[0]).parents[1]
    made = re.compile(r"^    rule\b.*= Rule\(", re.MULTILINE)
    written = {path for path in root.rglob("*.py") if made.search(path.read_text("utf-8"))}
    assert written == {module_of(detector) for detector in EVERY}


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
    for seen in (Gap(ORIGIN, "what", "why"), Observation(ORIGIN)):
        assert list(one.observe(seen)) == []
    assert list(one.finish()) == []
    coverage = one.coverage()
    assert coverage.law == detector.rule.law
    assert coverage.checked == 0
    assert not coverage.stopped
    coverage.skip("a reason of this one")
    assert "a reason of this one" not in other.coverage().reasons


def kinds_read_by(module: str, seen: set[str]) -> set[str]:
    """Names of the observation kinds that a rule's module asks for, or one of detect that it imports."""
    if module in seen or not module.startswith("veracity.detect."):
        return set()
    seen.add(module)
    found: set[str] = set()
    for node in ast.walk(ast.parse(inspect.getsource(sys.modules[module]))):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "isinstance":
            found |= {one.id for one in ast.walk(node.args[1]) if isinstance(one, ast.Name)}
        elif isinstance(node, ast.ImportFrom) and node.level and node.module:
            found |= kinds_read_by(f"{module.rsplit('.', node.level)[0]}.{node.module}", seen)
    return {name for name in found if isinstance(kind := getattr(observation, name, None), type)
            and issubclass(kind, Observation)}  # fmt: skip


@each
def test_a_detector_takes_what_it_reads_and_nothing_else(detector: type[Detector]) -> None:
    read = kinds_read_by(detector.__module__, set())
    taken = {kind.__name__ for kind in detector.takes}
    assert len(detector.takes) == len(taken) > 0
    # What a neighbour's module reads may not concern this rule; what its own module reads does.
    assert taken <= read or detector.takes == FROM_THE_GUARD
    own = {
        name for name in read if re.search(rf"isinstance\([^)]*\b{name}\b", module_of(detector).read_text())
    }
    assert own <= taken


@each
def test_a_detector_that_follows_the_numbers_takes_all_that_have_one(detector: type[Detector]) -> None:
    text = module_of(detector).read_text("utf-8")
    follows = re.search(r"\.sequence\(|observation\.origin\.seq\b", text) is not None
    assert (detector.takes == FROM_THE_GUARD) == follows
