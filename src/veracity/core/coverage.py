"""Coverage: how much a law really checked. A law that checked nothing says so."""

from __future__ import annotations

from dataclasses import dataclass, field

MAX_REASONS = 32
PASSED = "the step was passed over: looking at it was not in the budget (--overhead)"
"""Why a unit was not checked, where the guard rested."""


@dataclass(slots=True)
class Coverage:
    """Counts of one law, kept by its detector and merged by the monitor.

    ``checked`` of ``possible`` units (``unit``: steps, epochs, modules, …). ``reasons`` explains, once
    each, what was not checked and why; ``stopped`` names a law that could check and then no longer could.
    ``drawn_from``: units are drawn, and of each one thing out of so many is looked at; 0 when none is drawn.
    ``passed`` of the possible units were let pass by a budget: those that were looked at are drawn.
    """

    law: str
    unit: str
    checked: int = 0
    possible: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    stopped: str = ""
    drawn_from: int = 0
    passed: int = 0

    def missed(self, share: float, *, everywhere: bool) -> float:
        """The probability that what acts on a ``share`` of units, each by chance, met no check.

        ``everywhere``: it acts on all things that a check may look at, else on one of them.
        """
        seen = share if everywhere else share / max(1, self.drawn_from)
        return float((1 - seen) ** self.checked)

    def count(self, *, checked: bool, reason: str = "") -> None:
        """One more unit; ``reason`` says why it was not checked, or what weakens the check."""
        self.possible += 1
        if checked:
            self.checked += 1
        if reason:
            self.skip(reason)

    def miss(self, units: int, reason: str) -> None:
        """So many more units that were not checked, for one reason."""
        self.possible += units
        self.skip(reason, units)

    def pass_over(self) -> None:
        """One more unit, of a step that the guard let pass."""
        self.count(checked=False, reason=PASSED)
        self.passed += 1

    def skip(self, reason: str, times: int = 1) -> None:
        """Note a reason without counting a unit (for instance: no loader was ever seen)."""
        if reason in self.reasons or len(self.reasons) < MAX_REASONS:
            self.reasons[reason] = self.reasons.get(reason, 0) + times

    def merge(self, other: Coverage) -> None:
        """Add what another detector of the same law counted."""
        self.checked += other.checked
        self.possible += other.possible
        self.stopped = self.stopped or other.stopped
        self.drawn_from = max(self.drawn_from, other.drawn_from)
        for reason, times in other.reasons.items():
            if reason in self.reasons or len(self.reasons) < MAX_REASONS:
                self.reasons[reason] = self.reasons.get(reason, 0) + times
