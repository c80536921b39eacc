"""A home for each guarded run of marked sabotage."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def home(warm_home: Path) -> Path:
    """A home of this test alone; what was found out of installed code need not be found out again."""
    return warm_home
