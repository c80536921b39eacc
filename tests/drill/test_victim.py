"""Finding the shipped training scripts."""

from __future__ import annotations

import ast

import pytest

from veracity.core.errors import UsageError
from veracity.drill.victim import VICTIMS, victim_path


@pytest.mark.parametrize("name", VICTIMS)
def test_script_is_a_file_that_knows_nothing_of_veracity(name: str) -> None:
    script = victim_path(name)
    assert script.name == "train.py"
    assert script.parent.name == name
    source = script.read_text(encoding="ascii")
    ast.parse(source)
    assert "veracity" not in source.lower()


def test_every_shipped_script_has_a_name() -> None:
    folder = victim_path(VICTIMS[0]).parent.parent
    assert sorted(path.parent.name for path in folder.glob("*/train.py")) == sorted(VICTIMS)


@pytest.mark.parametrize("name", ["", "nanogpt", "../chargpt", "chargpt/", "CHARGPT"])
def test_other_names_are_refused_and_the_known_ones_listed(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        victim_path(name)
    remedy = caught.value.diagnostics().remedy
    assert all(known in remedy for known in VICTIMS)
