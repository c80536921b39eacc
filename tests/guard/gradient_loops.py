"""Real training loops whose parts can be replaced, and what the rules on gradients say of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.guard.conftest import Guarded
from veracity.core import observation as seen
from veracity.core.coverage import Coverage
from veracity.core.finding import Finding
from veracity.detect.detector import Detector
from veracity.detect.rules.gradient.accumulation import Accumulation
from veracity.detect.rules.gradient.changed import GradientChanged
from veracity.detect.rules.gradient.clipping import Clipping
from veracity.detect.rules.gradient.written import GradientWritten

pytest.importorskip("torch")

import torch

STEPS = 16


@dataclass
class Judged:
    findings: list[Finding] = field(default_factory=list)
    coverage: dict[str, Coverage] = field(default_factory=dict)

    @property
    def breaking(self) -> list[tuple[str, int | None]]:
        return [(one.rule, one.first_step) for one in self.findings if one.breaks]

    @property
    def all(self) -> list[tuple[str, str, int | None]]:
        return [(one.rule, one.severity.value, one.first_step) for one in self.findings]


def judged(guarded: Guarded) -> Judged:
    """What the rules on gradients say of everything the guard has shipped."""
    result = Judged()
    assert guarded.session.shield.failures == {}
    detectors: list[Detector] = [GradientChanged(), Accumulation(), Clipping(), GradientWritten()]
    everything = guarded.seen(seen.Observation)
    for detector in detectors:
        for one in everything:
            if isinstance(one, detector.takes):
                result.findings += detector.observe(one)
        result.findings += detector.finish()
        result.coverage[detector.rule.id] = detector.coverage()
    return result


@dataclass
class Loop:
    """A training loop; each of its parts can be replaced."""

    model: Any
    optimizer: Any
    passes: int = 1
    between: Callable[[int, Any], None] = lambda n, model: None
    zero: Callable[[int, int, Any], None] | None = None
    scale: Callable[[Any], Any] = lambda loss: loss

    def run(self, steps: int = STEPS) -> None:
        torch.manual_seed(5)
        dtype = next(self.model.parameters()).dtype
        for n in range(steps):
            for part in range(self.passes):
                if self.zero is not None:
                    self.zero(n, part, self.optimizer)
                elif part == 0:
                    self.optimizer.zero_grad()
                loss = self.model(torch.randn(8, 6, dtype=dtype)).square().mean()
                self.scale(loss).backward()
            self.between(n, self.model)
            self.optimizer.step()


def a_model(dtype: Any = None) -> Any:
    torch.manual_seed(3)
    parts = [torch.nn.Linear(6, 9), torch.nn.Tanh(), torch.nn.Linear(9, 9), torch.nn.Tanh()]
    return torch.nn.Sequential(*parts, torch.nn.Linear(9, 4)).to(dtype)


def a_loop(dtype: Any = None, **parts: Any) -> Loop:
    model = a_model(dtype)
    return Loop(model, torch.optim.AdamW(model.parameters(), lr=0.01), **parts)


def clip(n: int, model: Any, norm: float = 0.05) -> None:
    torch.nn.utils.clip_grad_norm_(model.parameters(), norm)


def only_measured(n: int, model: Any) -> None:
    torch.nn.utils.clip_grad_norm_(model.parameters(), float("inf"))
