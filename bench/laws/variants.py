"""Cases: every sabotage at least once, then more of them at other places, strengths and triggers."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from .planting import Trigger
from .sabotages import SABOTAGES, Sabotage

DDP_SHARE = 0.25


@dataclass(frozen=True, slots=True)
class Case:
    """One sabotaged run: what, in which script, alone or by torchrun, how strong, when."""

    sabotage: str
    target: str
    form: str
    strength: float
    trigger: Trigger

    @property
    def name(self) -> str:
        """What tells it from all others, in one word."""
        when = f"{self.trigger.kind}{self.trigger.start}"
        if self.trigger.kind == "every":
            when += f"+{self.trigger.period}"
        if self.trigger.kind == "chance":
            when += f"@{self.trigger.chance:g}"
        return f"{self.sabotage}/{self.target}/{self.form}/{self.strength:g}/{when}"

    def document(self) -> dict[str, object]:
        """As it is written to the results."""
        return asdict(self)


def variants(seed: int, count: int) -> list[Case]:
    """``count`` different cases drawn with ``seed``; fewer when there are not so many.

    The first ones are one of each sabotage, in their order.
    """
    draw = random.Random(seed)
    cases: dict[str, Case] = {}
    for sabotage in SABOTAGES:
        case = _draw(draw, sabotage)
        cases[case.name] = case
    for case in _more(draw):
        if len(cases) >= count:
            break
        cases.setdefault(case.name, case)
    return list(cases.values())[:count]


def _more(draw: random.Random) -> Iterator[Case]:
    for _ in range(200):
        for sabotage in draw.sample(SABOTAGES, len(SABOTAGES)):
            yield _draw(draw, sabotage)


def _draw(draw: random.Random, sabotage: Sabotage) -> Case:
    both = len(sabotage.forms) > 1
    form = ("ddp" if draw.random() < DDP_SHARE else "single") if both else sabotage.forms[0]
    start = sabotage.start + (draw.randrange(6) if sabotage.start else 0)
    trigger = Trigger(
        draw.choice(sabotage.triggers),
        start,
        draw.choice((2, 5, 10)),
        draw.choice((0.05, 0.2, 0.5)),
        draw.randrange(1 << 16),
    )
    return Case(sabotage.name, draw.choice(sabotage.targets), form, draw.choice(sabotage.strengths), trigger)
