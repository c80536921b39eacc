"""Step hooks of the program's own: the update law sees the step between them, continuity what they change."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.guard.conftest import Guarded, read_frames
from veracity.core.finding import Finding
from veracity.core.observation import HooksMoved, StepRecord
from veracity.core.rule import Severity
from veracity.detect.detector import Detector
from veracity.detect.rules.continuity.weights_changed import WeightsChanged
from veracity.detect.rules.gradient.changed import GradientChanged
from veracity.detect.rules.update.not_declared import UpdateNotDeclared
from veracity.guard.held import named
from veracity.monitor.decode import observation_of, read_header

torch = pytest.importorskip("torch")
Hook = Callable[[Any, Any, Any], None]
GLOBAL = importlib.import_module("torch.optim.optimizer")


def judged(guarded: Guarded, *detectors: Detector) -> list[Finding]:
    """What these detectors find in all that was shipped."""
    found: list[Finding] = []
    for frame in read_frames(guarded.spool):
        seen = observation_of(read_header(frame), frame, pid=1, rank=0, verified=True)
        for detector in detectors:
            if isinstance(seen, tuple(detector.takes)):
                found += detector.observe(seen)
    for detector in detectors:
        found += detector.finish()
    return found


class Loop:
    """A small training, with hooks put on its optimizer."""

    def __init__(self, kind: str = "AdamW", **settings: Any) -> None:
        torch.manual_seed(3)
        layers = torch.nn.Linear(24, 48), torch.nn.Tanh(), torch.nn.Linear(48, 4)
        self.model = torch.nn.Sequential(*layers)
        self.optimizer = getattr(torch.optim, kind)(self.model.parameters(), lr=1e-2, **settings)
        self.at = 0

    def run(self, steps: int) -> None:
        for _ in range(steps):
            self.optimizer.zero_grad()
            self.model(torch.randn(8, 24)).square().mean().backward()
            self.optimizer.step()
            self.at += 1

    @torch.no_grad()
    def scale(self, factor: float) -> None:
        for parameter in self.model.parameters():
            parameter.mul_(factor)

    def post(self, due: Callable[[int], bool], act: Callable[[], None], *, everywhere: bool = False) -> None:
        def planted(optimizer: Any, args: Any, kwargs: Any) -> None:
            if due(self.at):
                act()

        if everywhere:
            GLOBAL.register_optimizer_step_post_hook(planted)
        else:
            self.optimizer.register_step_post_hook(planted)


def laws(guarded: Guarded) -> tuple[list[Finding], UpdateNotDeclared, WeightsChanged]:
    update, weights = UpdateNotDeclared(), WeightsChanged()
    return judged(guarded, update, weights, GradientChanged()), update, weights


@pytest.mark.parametrize("everywhere", [False, True])
@pytest.mark.parametrize("kind", ["SGD", "AdamW"])
def test_hooks_that_only_look_leave_every_law_its_steps(
    guarded: Guarded, kind: str, everywhere: bool
) -> None:
    loop = Loop(kind)
    seen: list[int] = []
    loop.post(lambda at: True, lambda: seen.append(1), everywhere=everywhere)
    register = (
        GLOBAL.register_optimizer_step_pre_hook if everywhere else loop.optimizer.register_step_pre_hook
    )
    register(lambda *rest: seen.append(2))
    loop.run(30)
    found, update, weights = laws(guarded)
    assert found == []
    assert seen == [2, 1] * 30
    assert update.coverage().checked == 30, update.coverage().reasons
    assert weights.coverage().checked == 29, weights.coverage().reasons
    assert guarded.seen(HooksMoved) == []
    assert guarded.session.shield.failures == {}


@pytest.mark.parametrize("everywhere", [False, True])
def test_a_hook_that_scales_weights_once_is_a_warning_with_its_place(
    guarded: Guarded, everywhere: bool
) -> None:
    loop = Loop()
    loop.post(lambda at: at == 20, lambda: loop.scale(1.01), everywhere=everywhere)
    loop.run(30)
    found, update, _ = laws(guarded)
    (finding,) = found
    assert (finding.rule, finding.severity) == ("continuity-weights-changed", Severity.WARNING)
    assert finding.first_step == 20
    assert finding.locations[0].path == __file__
    assert finding.locations[0].line == Loop.post.__code__.co_firstlineno + 1
    assert "planted" in finding.message
    assert update.coverage().checked == 30


@pytest.mark.parametrize("scaled", [0.95, 1.05])
def test_a_hook_that_scales_one_layer_is_a_warning(guarded: Guarded, scaled: float) -> None:
    loop = Loop()

    def act() -> None:
        with torch.no_grad():
            loop.model[0].weight.mul_(scaled)

    loop.post(lambda at: at == 15, act)
    loop.run(20)
    assert [one.severity for one in laws(guarded)[0]] == [Severity.WARNING]


def test_a_hook_that_clears_momentum_in_mid_run_is_a_warning(guarded: Guarded) -> None:
    loop = Loop()

    def act() -> None:
        for state in loop.optimizer.state.values():
            state["exp_avg"].zero_()

    loop.post(lambda at: at == 15, act)
    loop.run(20)
    (finding,) = laws(guarded)[0]
    assert finding.severity is Severity.WARNING
    assert "optimizer state" in finding.message


def clip(loop: Loop) -> None:
    with torch.no_grad():
        for parameter in loop.model.parameters():
            parameter.clamp_(-0.1, 0.1)


def renorm(loop: Loop) -> None:
    with torch.no_grad():
        loop.model[0].weight.copy_(loop.model[0].weight.renorm(2, 0, 0.585))


def shrink(loop: Loop) -> None:
    loop.scale(0.999)


class Average:
    """Merges a moving average into the weights."""

    def __init__(self, loop: Loop) -> None:
        self.kept = [parameter.detach().clone() for parameter in loop.model.parameters()]

    def __call__(self, loop: Loop) -> None:
        with torch.no_grad():
            for kept, parameter in zip(self.kept, loop.model.parameters(), strict=True):
                kept.lerp_(parameter, 0.5)
                parameter.copy_(kept)


@pytest.mark.parametrize("every", [1, 5, 10])
@pytest.mark.parametrize("act", [clip, renorm, shrink, "average"])
def test_what_hooks_do_from_the_first_steps_on_is_a_note(
    guarded: Guarded, act: Callable[[Loop], None] | str, every: int
) -> None:
    loop = Loop()
    does = Average(loop) if isinstance(act, str) else act
    loop.post(lambda at: at % every == every - 1, lambda: does(loop))
    loop.run(45)
    found, update, weights = laws(guarded)
    assert {one.severity for one in found} <= {Severity.NOTE}, found
    assert update.coverage().checked == 45
    assert weights.coverage().checked == 44


@pytest.mark.parametrize("act", [clip, renorm])
def test_a_bound_that_weights_meet_late_is_a_note(guarded: Guarded, act: Callable[[Loop], None]) -> None:
    loop = Loop("SGD")

    def due(at: int) -> bool:
        return at in (17, 23, 24, 31)  # the rest of the time no weight has reached it

    loop.post(due, lambda: act(loop))
    loop.run(35)
    found, _, _ = laws(guarded)
    assert [one.severity for one in found] == [Severity.NOTE], found


def test_a_pre_hook_that_scales_all_gradients_once_is_a_note(guarded: Guarded) -> None:
    loop = Loop()

    def planted(optimizer: Any, args: Any, kwargs: Any) -> None:
        if loop.at == 15:
            for parameter in loop.model.parameters():
                parameter.grad.mul_(0.5)

    loop.optimizer.register_step_pre_hook(planted)
    loop.run(25)
    found, update, _ = laws(guarded)
    assert {one.severity for one in found} <= {Severity.NOTE}, found
    assert update.coverage().checked == 25


def test_a_pre_hook_that_clips_by_norm_leaves_the_laws_their_steps(guarded: Guarded) -> None:
    loop = Loop()
    loop.optimizer.register_step_pre_hook(
        lambda *rest: torch.nn.utils.clip_grad_norm_(loop.model.parameters(), 0.05) and None
    )
    loop.run(25)
    found, update, _ = laws(guarded)
    assert found == []
    assert update.coverage().checked == 25


def test_a_pre_hook_that_moves_weights_is_told(guarded: Guarded) -> None:
    loop = Loop()

    def planted(optimizer: Any, args: Any, kwargs: Any) -> None:
        if loop.at == 15:
            loop.scale(0.9)

    loop.optimizer.register_step_pre_hook(planted)
    loop.run(20)
    (finding,) = laws(guarded)[0]
    assert finding.severity is Severity.WARNING
    assert "before the step" in finding.message


def test_hooks_of_one_optimizer_that_bound_anothers_weights(guarded: Guarded) -> None:
    torch.manual_seed(0)
    first, second = torch.nn.Linear(16, 16), torch.nn.Linear(16, 4)
    optimizers = [torch.optim.AdamW(part.parameters(), lr=3e-2) for part in (first, second)]

    def bound(optimizer: Any, args: Any, kwargs: Any) -> None:
        with torch.no_grad():
            for parameter in (*first.parameters(), *second.parameters()):
                parameter.clamp_(-0.1, 0.1)

    optimizers[1].register_step_post_hook(bound)
    for _ in range(30):
        for optimizer in optimizers:
            optimizer.zero_grad()
        second(first(torch.randn(8, 16)).tanh()).square().mean().backward()
        for optimizer in optimizers:
            optimizer.step()
    found, update, _ = laws(guarded)
    assert {one.severity for one in found} == {Severity.NOTE}, found
    assert update.coverage().checked == 60


def test_a_hook_that_comes_and_goes_and_one_that_raises(guarded: Guarded) -> None:
    loop = Loop()
    loop.run(5)

    def raises(optimizer: Any, args: Any, kwargs: Any) -> None:
        raise ValueError("a hook that fails")

    handle = loop.optimizer.register_step_post_hook(raises)
    for _ in range(3):
        with pytest.raises(ValueError, match="fails"):
            loop.run(1)
    handle.remove()
    loop.run(5)
    assert loop.optimizer._optimizer_step_post_hooks == {}
    assert [record.step for record in guarded.seen(StepRecord)] == list(range(13))
    assert laws(guarded)[0] == []


def test_hooks_around_a_step_within_a_step_leave_it_unchecked(guarded: Guarded) -> None:
    plain: Any = torch.optim.SGD

    class Twice(plain):
        def step(self, closure: Any = None) -> Any:
            return super().step(closure)

    loop = Loop()
    torch.optim.SGD(loop.model.parameters(), lr=0.1)
    loop.optimizer = Twice(loop.model.parameters(), lr=0.1)
    loop.post(lambda at: True, lambda: loop.scale(0.99))
    loop.run(25)
    found, update, _ = laws(guarded)
    assert {one.severity for one in found} <= {Severity.NOTE}, found
    assert update.coverage().checked == 0


def test_training_with_hooks_is_the_same_bit_for_bit(guarded: Guarded, tmp_path: Path) -> None:
    loop = Loop()
    loop.post(lambda at: at % 3 == 0, lambda: loop.scale(0.99))
    loop.run(20)
    guarded.session.shield.failures["step"] = 3  # the guard rests
    other = Loop()
    other.post(lambda at: at % 3 == 0, lambda: other.scale(0.99))
    other.run(20)
    for one, two in zip(loop.model.parameters(), other.model.parameters(), strict=True):
        assert torch.equal(one, two)


def test_hooks_are_named_whatever_they_are() -> None:
    class Called:
        def __call__(self, *rest: Any) -> None: ...

    def plain(*rest: Any) -> None: ...

    hooks = dict(enumerate([plain, functools.partial(plain, 1), Called(), Called().__call__, print]))
    found = named(hooks)
    assert isinstance(found["hooks"], list)
    assert [name.rpartition(".")[2] for name in found["hooks"]] == ["plain", "plain", "__call__", "__call__"]
    assert found["paths"] == [__file__] * 4


def test_a_change_at_few_elements_has_values_wherever_it_is_met(guarded: Guarded) -> None:
    loop = Loop("SGD")

    def act() -> None:
        with torch.no_grad():
            loop.model[0].weight.view(-1)[::7].mul_(0.99)

    loop.post(lambda at: True, act)
    loop.run(12)
    records = guarded.seen(HooksMoved)
    assert records
    for record in records:
        assert record.former
        assert all(
            abs(later) < abs(former) for former, later in zip(record.former, record.later, strict=True)
        )
