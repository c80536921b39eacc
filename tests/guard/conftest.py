"""A guard inside the test's own process: real torch, a temporary spool, everything put back after."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest

from tests.tracing import trace_rules
from veracity.core.observation import Observation
from veracity.core.wire import Frame, unpack
from veracity.detect.registry import DETECTORS
from veracity.guard import (
    audit,
    checkpoints,
    clipping,
    install,
    loaders,
    patching,
    programhooks,
    randomness,
    schedulers,
    unpickling,
)
from veracity.guard.functions import Functions
from veracity.guard.imports import ImportWatch
from veracity.guard.session import Config, Session
from veracity.monitor.decode import observation_of, read_header

KEY = bytes(range(32))
T = TypeVar("T", bound=Observation)
Make = Callable[[Callable[..., object]], Callable[..., object]]


@pytest.fixture(scope="session", autouse=True)
def _rules_are_traced() -> None:
    """Many rules are tried on what a real guard sends; that counts for the floor of their room."""
    trace_rules(DETECTORS)


def read_frames(folder: Path) -> list[Frame]:
    """Every frame in the spools of ``folder``; fails when one is torn."""
    found = []
    for path in sorted(folder.glob("*.spool")):
        data, position = path.read_bytes(), 0
        while position < len(data):
            taken = unpack(data, position)
            assert taken is not None, f"{path.name} ends within a frame"
            frame, position = taken
            found.append(frame)
    return found


@dataclass
class Guarded:
    """A session and what it has shipped, decoded as the monitor does it."""

    session: Session
    spool: Path

    def seen(self, kind: type[T]) -> list[T]:
        """All observations of one kind so far."""
        found = []
        for frame in read_frames(self.spool):
            observation = observation_of(read_header(frame), frame, pid=1, rank=0, verified=True)
            if isinstance(observation, kind):
                found.append(observation)
        return found


def config_for(folder: Path) -> Config:
    """A configuration with its spool in ``folder`` and a socket that nobody listens on."""
    spool = folder / "spool"
    spool.mkdir(exist_ok=True)
    return Config("run-x", str(folder / "guard.zip"), str(folder / "guard.sock"), str(spool), KEY, "")


@pytest.fixture
def guarded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Guarded]:
    """The guard's hooks and wrappers in this process, for one test."""
    torch = pytest.importorskip("torch")

    def replace(owner: object, name: str, make: Make) -> bool:
        before = vars(owner).get(name)
        done = patching.replace(owner, name, make)
        if done:
            after = getattr(owner, name)
            setattr(owner, name, before)
            monkeypatch.setattr(owner, name, after)
        return done

    for module in (checkpoints, clipping, install, loaders, programhooks, randomness, schedulers, unpickling):
        monkeypatch.setattr(module, "replace", replace)
    optimizer = importlib.import_module("torch.optim.optimizer")
    hooks = (optimizer._global_optimizer_pre_hooks, optimizer._global_optimizer_post_hooks)
    kept = [dict(table) for table in hooks]
    # The test process has imported thousands of modules; tests of steps need not read about them.
    monkeypatch.setattr(ImportWatch, "flush", lambda self: None)
    monkeypatch.setattr(Functions, "look", lambda self: None)
    # An audit hook stays for as long as its process lives.
    monkeypatch.setattr(install, "watch_channels", lambda session: None)
    monkeypatch.setattr(install, "watch_metric_files", lambda session, audit: None)
    session = Session(config_for(tmp_path))
    install.install(session, ImportWatch(session), torch)
    yield Guarded(session, tmp_path / "spool")
    audit.forget("pickle.find_class")
    for table, old in zip(hooks, kept, strict=True):
        table.clear()
        table.update(old)
