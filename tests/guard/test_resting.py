"""Steps that pass unseen: which they are, what is noted of them, and what ends a rest at once."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from torch import nn
from torch.optim import Optimizer

from tests.guard import judging
from tests.guard.conftest import Guarded
from veracity.core import observation as seen
from veracity.core.coverage import PASSED, Coverage
from veracity.core.finding import Finding
from veracity.core.rule import Severity
from veracity.guard import resting
from veracity.guard.schedule import Terms

STEPS = 120
WARM = 24
SCHEDULING = (seen.SchedulerDeclared, seen.SchedulerStepped, seen.SchedulersStepped)


@pytest.fixture
def rested(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Guarded:
    """A guard that rests from early on, as it would after thousands of steps."""
    monkeypatch.setattr(resting, "WARM", WARM)
    monkeypatch.setattr(resting, "LOOK", Terms(b"look", 1e-9, 0.0, 0.2, 0.2, in_a_row=2))
    torch.manual_seed(3)
    guarded: Guarded = request.getfixturevalue("guarded")
    return guarded


class Training:
    """A loop of the usual kind: a loader, clipping, a schedule."""

    def __init__(self) -> None:
        data = torch.utils.data.TensorDataset(torch.randn(64, 6), torch.randint(3, (64,)))
        self.loader = torch.utils.data.DataLoader(data, batch_size=8, shuffle=True)
        self.model = nn.Sequential(nn.Linear(6, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Linear(12, 3))
        self.optimizer: Optimizer = torch.optim.AdamW(self.model.parameters(), 1e-2)
        self.schedule = torch.optim.lr_scheduler.StepLR(self.optimizer, 50)
        self.step = 0

    def batches(self) -> Iterator[Any]:
        while True:
            yield from self.loader

    def run(self, steps: int = STEPS) -> Iterator[int]:
        """Yields before each step, when its gradients are there."""
        for inputs, targets in self.batches():
            self.optimizer.zero_grad()
            nn.functional.cross_entropy(self.model(inputs), targets).backward()
            nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            yield self.step
            self.optimizer.step()
            self.schedule.step()
            self.step += 1
            if self.step == steps:
                return

    def finish(self, steps: int = STEPS) -> None:
        for _ in self.run(steps):
            pass


def judged(guarded: Guarded) -> tuple[list[Finding], dict[str, Coverage]]:
    """What the detectors say, notes left out."""
    guarded.session.say_goodbye()
    outcome = judging.judged(guarded)
    return [one for one in outcome.findings if one.severity is not Severity.NOTE], outcome.coverage


def looked_at(guarded: Guarded) -> list[int]:
    return [record.step for record in guarded.seen(seen.StepRecord)]


def called(guarded: Guarded) -> list[seen.SchedulerStepped]:
    return called_in(guarded.seen(seen.Observation))


def called_in(observations: Sequence[seen.Observation]) -> list[seen.SchedulerStepped]:
    """Calls of schedulers, told one by one or many in one record."""
    found: list[seen.SchedulerStepped] = []
    for one in observations:
        if isinstance(one, seen.SchedulersStepped):
            found += one.each()
        elif isinstance(one, seen.SchedulerStepped):
            found.append(one)
    return found


def passed(guarded: Guarded) -> list[int]:
    return [
        step for one in guarded.seen(seen.StepsPassed) for step in range(one.first, one.first + one.count)
    ]


def test_steps_are_looked_at_in_pairs_and_all_are_counted(rested: Guarded) -> None:
    Training().finish()
    found, coverage = judged(rested)
    looks, rest = looked_at(rested), passed(rested)
    assert found == []
    assert sorted(looks + rest) == list(range(STEPS))
    assert looks[:WARM] == list(range(WARM))
    assert len(rest) > STEPS // 4
    later = [step for step in looks if step > WARM]
    alone = [step for step in later if step - 1 not in looks and step + 1 not in looks]
    assert [step for step in alone if step != STEPS - 1] == []
    assert coverage["update"].checked == len(looks)
    assert coverage["update"].possible == STEPS
    assert coverage["update"].reasons[PASSED] == len(rest)


def test_what_loaders_and_schedulers_do_is_noted_of_all_steps(rested: Guarded) -> None:
    Training().finish()
    judged(rested)
    drawn = [batch for record in rested.seen(seen.BatchesDrawn) for batch in record.indices]
    assert len(drawn) == STEPS
    assert [one.before_step for one in called(rested)][-STEPS:] == list(range(1, STEPS + 1))
    assert 0 < len(rested.seen(seen.SchedulersStepped)) < STEPS // 2


def test_training_is_the_same_bit_for_bit(rested: Guarded) -> None:
    torch.manual_seed(8)
    one = Training()
    one.finish()
    assert passed(rested)
    torch.manual_seed(8)
    other = Training()
    rest = resting.Rest.begin
    try:
        resting.Rest.begin = lambda *args, **kwargs: False  # type: ignore[method-assign]
        other.finish()
    finally:
        resting.Rest.begin = rest  # type: ignore[method-assign]
    for mine, theirs in zip(one.model.state_dict().values(), other.model.state_dict().values(), strict=True):
        assert torch.equal(mine, theirs)


def test_two_optimizers_are_always_looked_at(rested: Guarded) -> None:
    training = Training()
    second = torch.optim.SGD([nn.Parameter(torch.ones(3))], 0.1)
    for _ in training.run():
        second.param_groups[0]["params"][0].grad = torch.ones(3)
        second.step()
    assert passed(rested) == []


def test_a_step_with_a_closure_or_with_hooks_of_the_program_is_looked_at(rested: Guarded) -> None:
    training = Training()
    training.optimizer.register_step_post_hook(lambda *_: None)
    training.finish()
    assert passed(rested) == []


def test_hooks_that_come_in_a_rest_end_it(rested: Guarded) -> None:
    training = Training()
    for step in training.run():
        if step == 60:
            training.optimizer.register_step_post_hook(lambda *_: None)
    assert max(passed(rested)) <= 60
    assert looked_at(rested)[-50:] == list(range(70, STEPS))


def test_an_optimizer_that_comes_in_a_rest_ends_it_at_once(rested: Guarded) -> None:
    training, others = Training(), []
    for step in training.run():
        if step == 60:
            others.append(torch.optim.SGD([nn.Parameter(torch.ones(3))], 0.1))
    found, _ = judged(rested)
    assert found == []
    assert max(passed(rested)) < 60


def test_a_state_restored_in_a_rest_is_compared_at_the_next_step(rested: Guarded) -> None:
    training = Training()
    for step in training.run():
        if step == 60:
            state = {name: value.clone() for name, value in training.model.state_dict().items()}
            training.model.load_state_dict(state)
    found, _ = judged(rested)
    assert found == []
    assert [one.step for one in rested.seen(seen.StateRestored)] == [60]
    assert 60 in looked_at(rested)


def test_hooks_that_the_program_takes_out_in_a_rest_are_put_back(rested: Guarded) -> None:
    from torch.optim import optimizer

    training = Training()
    for step in training.run(200):
        if step == 60:
            optimizer._global_optimizer_pre_hooks.clear()
            optimizer._global_optimizer_post_hooks.clear()
    found, _ = judged(rested)
    assert [one for one in found if one.breaks] == []
    assert ["removed" in gap.what for gap in rested.seen(seen.Gap)] == [True]
    assert len(looked_at(rested)) > WARM + 10


def test_what_is_held_back_comes_before_anything_else(rested: Guarded) -> None:
    """A scheduler that is declared in a rest is declared after what the one before it did."""
    training = Training()
    training.schedule = torch.optim.lr_scheduler.StepLR(training.optimizer, 500)
    for step in training.run():
        if step == 60:
            training.schedule = torch.optim.lr_scheduler.StepLR(training.optimizer, 70)
    found, coverage = judged(rested)
    assert found == []
    assert coverage["schedule"].checked == len(looked_at(rested)), coverage["schedule"].reasons
    order = [one for one in rested.seen(seen.Observation) if isinstance(one, SCHEDULING)]
    declared = [at for at, one in enumerate(order) if isinstance(one, seen.SchedulerDeclared)]
    after = called_in(order[declared[-1] + 1 :])
    assert len({one.scheduler for one in after}) == 1
    assert len(after) == STEPS - 60


def test_frozen_parameters_are_no_ones_that_were_left_alone(rested: Guarded) -> None:
    """What the passed steps wrote is not taken for writes between two steps."""
    training = Training()
    training.model[0].requires_grad_(False)
    training.optimizer = torch.optim.SGD(training.model.parameters(), 0.05, momentum=0.9)
    training.schedule = torch.optim.lr_scheduler.StepLR(training.optimizer, 50)
    training.finish(200)
    found, _ = judged(rested)
    assert passed(rested)
    assert [one.message for one in found] == []


def test_a_checkpoint_ships_nothing_early_while_steps_are_looked_at(guarded: Guarded, tmp_path: Path) -> None:
    """Batches are shipped behind the record of their step: what comes before it belongs to the one before."""
    training = Training()
    for _ in training.run(12):
        torch.save(training.model.state_dict(), tmp_path / "model.pt")
    order = [
        type(one).__name__
        for one in guarded.seen(seen.Observation)
        if isinstance(one, (seen.StepRecord, seen.BatchesDrawn, seen.CheckpointSaved))
    ]
    assert order[:6] == ["CheckpointSaved", "StepRecord", "BatchesDrawn"] * 2


def test_a_rest_keeps_nothing_of_the_program(rested: Guarded) -> None:
    training = Training()
    for _ in training.run():
        if training.step > WARM and rested.session.waiting is not None:
            break
    gone = weakref.ref(training.model[0].weight)
    del training
    gc.collect()
    assert gone() is None


def test_optimizers_one_after_the_other(rested: Guarded) -> None:
    """Folds: the first optimizer is gone when the second one comes, perhaps amidst a rest."""
    for _ in range(2):
        Training().finish(60)
        gc.collect()
    found, _ = judged(rested)
    assert [one.message for one in found] == []
    seconds = [record.step for record in rested.seen(seen.StepRecord) if record.optimizer == 1]
    assert seconds == list(range(60))


def test_weights_scaled_between_steps_are_met_by_a_pair(rested: Guarded) -> None:
    training = Training()
    for step in training.run():
        if step >= 40:
            with torch.no_grad():
                training.model[0].weight.mul_(0.999)  # sabotage: weights shrink between steps
    found, _ = judged(rested)
    first = [one.first_step for one in found if one.rule == "continuity-weights-changed"]
    assert first, [one.message for one in found]
    assert first[0] is not None
    assert 40 <= first[0] < STEPS
