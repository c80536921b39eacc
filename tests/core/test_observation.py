from __future__ import annotations

import ast
import dataclasses
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

from veracity.core import contract, observation, summary
from veracity.core.finding import Evidence, Finding, Location
from veracity.core.origin import Origin, Trust
from veracity.core.sample import TensorSample
from veracity.core.verdict import Verdict
from veracity.core.wiremap import KINDS

ORIGIN = Origin("guard", Trust.USERLAND, 1, 0, 0, 0)
MADE_HERE = [
    value
    for module in (observation, contract, summary)
    for value in vars(module).values()
    if isinstance(value, type) and dataclasses.is_dataclass(value) and value.__module__ == module.__name__
]


@pytest.mark.parametrize(
    "kind",
    [*MADE_HERE, Finding, Evidence, Location, TensorSample, Verdict, Origin],
    ids=lambda kind: kind.__name__,
)
def test_nouns_are_frozen_and_slotted(kind: type) -> None:
    parameters = kind.__dataclass_params__  # type: ignore[attr-defined]
    assert parameters.frozen
    assert "__slots__" in vars(kind)
    assert kind.__doc__
    bare: object = object.__new__(kind)
    for name in [*(one.name for one in dataclasses.fields(kind)), "another"]:
        with pytest.raises((dataclasses.FrozenInstanceError, TypeError)):
            setattr(bare, name, 1)
    assert not hasattr(bare, "__dict__")


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_observation_begins_with_its_origin(kind: str) -> None:
    assert dataclasses.fields(KINDS[kind])[0].name == "origin"


def test_what_is_not_said_has_a_harmless_default() -> None:
    gap = observation.Gap(ORIGIN, "no stacks", "py-spy is not installed")
    assert (gap.remedy, gap.law, gap.stops) == ("", "", False)
    saved = observation.CheckpointSaved(ORIGIN, "a.pt", 1, [], False)
    assert saved.inode == 0


def test_defaults_are_not_shared() -> None:
    def scheduler() -> contract.SchedulerDeclaration:
        return contract.SchedulerDeclaration(0, 0, "StepLR", {}, [], [], 0)

    assert scheduler().children is not scheduler().children
    first, second = (summary.StepPoint(0, step, None, None, 5) for step in (1, 2))
    assert first.phases is not second.phases


def test_each_kind_that_a_module_defines_is_found_in_the_package() -> None:
    defined = {"GradientTrial"}
    for path in Path(inspect.getfile(observation)).parent.glob("[a-z]*.py"):
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.ClassDef):
                defined.add(node.name)
                assert getattr(observation, node.name).__module__ == f"{observation.__name__}.{path.stem}"
    assert set(observation.__all__) == defined
    assert len(observation.__all__) == len(defined)


def test_there_are_no_others() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Gapp'"):
        getattr(observation, "Gapp")  # noqa: B009 - a type checker would refuse the plain form


def test_a_kind_is_made_when_it_is_asked_for() -> None:
    code = (
        "import sys; from veracity.core.observation import Gap;"
        "print([one for one in sys.modules if one.startswith('veracity.core.observation.')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    wanted = [f"{observation.__name__}.{one}" for one in ("kinds", "root", "gap")]
    assert done.stdout.strip() == str(wanted)
