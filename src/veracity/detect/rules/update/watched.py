"""One optimizer of one process under the update law: its declaration, and whether it is still checked."""

from __future__ import annotations

from dataclasses import dataclass, field

from ....core.contract import OptimizerDeclaration

NOT_DETERMINED = "elements whose result is not finite or not determined were passed over"
BLIND_STEPS = 20


@dataclass(slots=True)
class Watched:
    """An optimizer, with the kinds of finding already reported.

    ``blind`` counts the steps since the last one that could be checked. A run whose steps could be checked
    and then for ``BLIND_STEPS`` no longer can has lost the law: a hook or a closure that arrives in the
    middle of a run must not leave it ``held``.
    """

    declared: OptimizerDeclaration
    reported: set[str] = field(default_factory=set)
    checked: int = 0
    blind: int = 0
    because: str = ""

    def count(self, *, checked: bool, reason: str = "") -> None:
        """One more step."""
        self.checked += checked
        self.blind = 0 if checked else self.blind + 1
        self.because = reason

    def stopped(self, rank: int) -> str:
        """Why the law no longer sees this optimizer; empty while it does, or when it never did."""
        if not self.checked or self.blind < BLIND_STEPS:
            return ""
        why = self.because or NOT_DETERMINED
        return f"the last {self.blind} steps of rank {rank} could not be checked: {why}"
