"""The spelling that PEP 503 asks for."""

from __future__ import annotations

import pytest

from veracity.core.packagename import normalised


@pytest.mark.parametrize("name", ["Zope.Interface", "zope_interface", "ZOPE--interface", "zope-.-Interface"])
def test_spellings_of_one_name_are_one(name: str) -> None:
    assert normalised(name) == "zope-interface"
