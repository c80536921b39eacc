"""Whatever fails inside the guard, the program never learns of it and the monitor always does."""

from __future__ import annotations

from typing import Any

import pytest

from tests.guard.conftest import Guarded
from veracity.core import observation as seen
from veracity.guard import (
    checkpoints,
    declare,
    fingerprint,
    loaders,
    reader,
    roster,
    schedulers,
    steps,
    stream,
    tensors,
)
from veracity.guard.shield import FAILURES_BEFORE_REST, Shield

pytest.importorskip("torch")

import torch

BROKEN: list[tuple[object, str, str]] = [
    (steps.Steps, "before", "step"),
    (steps.Steps, "after", "step"),
    (roster.Roster, "register", "step"),
    (roster.Roster, "constructed", "step"),
    (steps.Steps, "backward_ran", "step"),
    (steps.Steps, "_close", "step"),
    (reader.Reader, "read", "step"),
    (tensors, "join", "step"),
    (fingerprint.Fingerprinter, "take", "step"),
    (declare, "optimizer_body", "step"),
    (declare, "groups_of", "step"),
    (loaders.Loaders, "begin", "loader"),
    (loaders.Loaders, "begun", "loader"),
    (loaders.Loaders, "drew", "loader"),
    (loaders.Loaders, "delivered", "loader"),
    (loaders.Loaders, "ended", "loader"),
    (loaders.Loaders, "flush", "loader"),
    (loaders.Loaders, "sampler_starts", "loader"),
    (schedulers.Schedulers, "before_step", "scheduler"),
    (schedulers.Schedulers, "about_to_step", "scheduler"),
    (schedulers.Schedulers, "stepped", "scheduler"),
    (schedulers.Schedulers, "reloaded", "scheduler"),
    (checkpoints.Checkpoints, "describe", "checkpoint"),
    (checkpoints.Checkpoints, "saved", "checkpoint"),
    (checkpoints.Checkpoints, "loaded", "checkpoint"),
]


def a_program(folder: Any) -> list[bytes]:
    """Uses everything the guard wraps, once or more; what it computed."""
    torch.manual_seed(7)
    items = torch.utils.data.TensorDataset(torch.randn(12, 4))
    model = torch.nn.Linear(4, 2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 2)
    losses = []
    for _ in range(3):
        for (batch,) in torch.utils.data.DataLoader(items, batch_size=3, shuffle=True):
            optimizer.zero_grad()
            loss = model(batch).square().mean()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        path = folder / "state.pt"
        torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, path)
        state = torch.load(path, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(schedule.state_dict())
    values = [torch.tensor(losses), *model.parameters(), torch.get_rng_state()]
    return [tensors.raw_bytes(value) for value in values]


@pytest.mark.parametrize(
    ("owner", "name", "site"),
    BROKEN,
    ids=[f"{getattr(owner, '__name__', '').split('.')[-1]}.{name}" for owner, name, _ in BROKEN],
)
def test_any_function_of_the_guard_may_fail(
    guarded: Guarded, monkeypatch: pytest.MonkeyPatch, tmp_path: Any, owner: object, name: str, site: str
) -> None:
    expected = a_program(tmp_path)
    calls = []

    def fail(*args: object, **kwargs: object) -> None:
        calls.append(name)
        raise RuntimeError(f"planted in {name}")

    monkeypatch.setattr(owner, name, fail)
    assert a_program(tmp_path) == expected
    assert calls, "the program did not come by"
    gaps = guarded.seen(seen.Gap)
    assert gaps[0].what.startswith(f"the guard failed in {site}")
    assert f"planted in {name}" in gaps[0].reason
    if len(calls) >= FAILURES_BEFORE_REST:
        assert gaps[-1].stops


def test_a_program_of_which_all_is_reported_has_no_gap(guarded: Guarded, tmp_path: Any) -> None:
    a_program(tmp_path)
    assert guarded.session.shield.failures == {}
    assert guarded.seen(seen.Gap) == []
    assert len(guarded.seen(seen.StepRecord)) == 12
    assert len(guarded.seen(seen.CheckpointSaved)) == len(guarded.seen(seen.CheckpointLoaded)) == 3


def test_a_stream_that_fails_is_not_noticed_either(
    guarded: Guarded, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    expected = a_program(tmp_path)

    def fail(*args: object) -> bool:
        raise MemoryError

    monkeypatch.setattr(stream.Stream, "send", fail)
    assert a_program(tmp_path) == expected


def test_a_site_rests_after_some_failures_and_says_so_twice() -> None:
    shield = Shield()
    told: list[tuple[str, str, bool]] = []
    shield.report = lambda *word: told.append(word)
    calls = []

    def fail() -> None:
        calls.append(1)
        raise ValueError("no")

    for _ in range(10):
        assert shield.run("step", fail) is None
    assert len(calls) == FAILURES_BEFORE_REST
    assert told == [("step", "ValueError: no", False), ("step", "ValueError: no", True)]
    assert shield.run("other", lambda: 5) == 5


def test_what_the_user_interrupts_is_interrupted() -> None:
    shield = Shield()

    def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        shield.run("step", interrupted)


def test_a_failure_that_cannot_be_told_is_still_contained() -> None:
    class UnprintableError(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    shield = Shield()
    shield.report = lambda *word: None

    def fail() -> None:
        raise UnprintableError

    assert shield.run("step", fail) is None
