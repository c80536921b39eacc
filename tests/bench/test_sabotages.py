"""Every sabotage of the bench still fits the scripts and the torch it edits, and names rules there are."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from bench.laws.eight import EIGHT
from bench.laws.plant import script_edits, torch_texts
from bench.laws.planting import TRIGGERS, Trigger
from bench.laws.sabotages import BY_NAME, PLANNED, SABOTAGES, Sabotage
from bench.laws.targets import TARGETS
from bench.laws.variants import Case, variants
from veracity.detect.registry import RULES
from veracity.drill.sabotage import MARK

pytest.importorskip("torch")

RULE_IDS = {rule.id for rule in RULES}
TRUTH = Path("/nowhere/acted.txt")
# The edits of torch's own files are made for the release that the project pins.
TORCH = pytest.importorskip("torch").__version__.split("+")[0]


@pytest.mark.parametrize("sabotage", SABOTAGES, ids=lambda one: one.name)
def test_each_edit_fits_its_script_once_and_is_marked(sabotage: Sabotage) -> None:
    for name in sabotage.targets:
        target = TARGETS[name]
        before = text = target.script.read_text(encoding="utf-8")
        for edit in script_edits(sabotage, target, Trigger(), sabotage.strengths[0], TRUTH):
            text = edit.apply(text)
        ast.parse(text)
        if sabotage.lines:
            assert "drill_acts(" in text
            assert text.count(MARK) > before.count(MARK)


@pytest.mark.skipif(TORCH != "2.13.0", reason="the edits are those of another torch")
@pytest.mark.parametrize("sabotage", [one for one in SABOTAGES if one.torch], ids=lambda one: one.name)
def test_each_edit_of_torch_fits_once_and_is_marked(sabotage: Sabotage) -> None:
    edited = 0
    for name in sabotage.targets:
        texts = torch_texts(sabotage, TARGETS[name], Trigger(), sabotage.strengths[0], TRUTH)
        edited += len(texts)
        for text in texts.values():
            ast.parse(text)
            assert text.count(MARK) >= 3
    assert edited


def test_each_sabotage_changes_something() -> None:
    assert len(SABOTAGES) >= 40
    assert len(BY_NAME) == len(SABOTAGES)
    for one in SABOTAGES:
        assert one.lines or one.torch or one.between or one.site, one.name
        assert set(one.targets) <= set(TARGETS), one.name
        assert set(one.triggers) <= set(TRIGGERS), one.name


@pytest.mark.parametrize("sabotage", SABOTAGES, ids=lambda one: one.name)
def test_rules_named_are_there_or_planned(sabotage: Sabotage) -> None:
    assert sabotage.rules
    for rule in (*sabotage.rules, *sabotage.also):
        assert rule in RULE_IDS or rule in PLANNED, rule


def test_variants_cover_all_and_are_drawn_the_same_again() -> None:
    cases = variants(3, 220)
    assert len(cases) == 220
    assert len({case.name for case in cases}) == 220
    assert {case.sabotage for case in cases} == set(BY_NAME)
    assert {case.form for case in cases} == {"single", "ddp"}
    assert cases == variants(3, 220)
    assert [case.name for case in cases] != [case.name for case in variants(4, 220)]


@pytest.mark.parametrize("case", EIGHT, ids=lambda one: one.sabotage)
def test_each_of_the_eight_fits_the_script_as_it_is(case: Case) -> None:
    target, sabotage = TARGETS[case.target], BY_NAME[case.sabotage]
    text = target.script.read_text(encoding="utf-8")
    for edit in script_edits(sabotage, target, case.trigger, case.strength, TRUTH):
        text = edit.apply(text)
    ast.parse(text)
    assert "chargpt" in sabotage.targets
    assert "--n-embd" not in " ".join(target.options)
