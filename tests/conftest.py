"""What all tests share: one thread for torch, how many examples are drawn, and a home that knows torch."""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.examples import PROFILES
from tests.knowledge import NAME, look_at_everything, warmed
from tests.once import once

# Two workers with two threads each wait for one another at every operation; one thread each does not.
# Read by torch when it is imported, so before any test module is.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A worker comes to need torch, with what an optimizer imports: twice as quick before anything is traced.
if "PYTEST_XDIST_WORKER" in os.environ:
    with contextlib.suppress(ModuleNotFoundError):
        importlib.import_module("torch._dynamo")

# How long an example takes says how busy the machine is, nothing about the code.
for _name, _examples in PROFILES.items():
    settings.register_profile(
        _name, max_examples=_examples, deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
settings.load_profile("ci")  # --hypothesis-profile comes later and wins

pytest_plugins = ["tests.tracing"]


def pytest_collection_finish() -> None:
    """Leave what was imported out of all later looks at what is alive.

    A guard looks through everything for modules and schedulers when it meets an optimizer. That is a million
    objects in a process that imported all tests, and the collector goes through them as well.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def knowledge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home that has checked torch's code and all that the victims import; to be copied, not used."""
    pytest.importorskip("torch")
    return once(tmp_path_factory, NAME, look_at_everything) / "home"


@pytest.fixture
def warm_home(knowledge: Path, tmp_path: Path) -> Path:
    """A home without runs, of this test alone, that need not check torch's code anew."""
    return warmed(knowledge, tmp_path / "home")
