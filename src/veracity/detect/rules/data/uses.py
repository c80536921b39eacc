"""How a program uses one tensor of a loader's batches, step by step, and what an alteration could mean."""

from __future__ import annotations

from dataclasses import dataclass, field

from ....core.observation import BatchUse

LEARNED = 10
WIDE = 100
CHANCE = 1e-3
ALL = 0.9
FEW = 0.5
DROPPED = 0.25
MAX_PAIRS = 64
KINDS = ("differs", "again", "part")


@dataclass(frozen=True, slots=True)
class Alteration:
    """A tensor was not used as delivered; ``innocent`` says why that may be the program's own doing."""

    kind: str
    step: int
    use: BatchUse
    innocent: str = ""


@dataclass(slots=True)
class Series:
    """One tensor of one loader's batches over the steps of one optimizer."""

    steps: int = 0
    most: int = 0
    groups: int = 0
    iteration: int = -1
    habits: set[str] = field(default_factory=set)
    since: int = 0
    changed: int = 0
    pairs: list[list[float]] = field(default_factory=list)
    waiting: Alteration | None = None

    def take(self, use: BatchUse, step: int) -> Alteration | None:
        """Take one step in; what is altered at it, once that can be said."""
        kinds = self._kinds(use)
        if self.steps < LEARNED:
            self.habits.update(kinds)
        kinds = [kind for kind in kinds if kind not in self.habits]
        if self.changed:
            self.since += use.groups
        elif not use.differs:
            self.groups += use.groups
        if not kinds:
            return self._plain(use)
        found = self._judged(kinds[0], use, step)
        if self.waiting is not None:
            return None  # it lasts since this loader's pass began
        if use.iteration > self.iteration >= 0 and not found.innocent:
            self.waiting = found
            return None
        return found

    def last(self) -> Alteration | None:
        """What lasted to the end."""
        if self.waiting is None:
            return None
        first = self.waiting
        why = "it set in with a pass over the loader and lasted, as a new phase of a program does"
        return Alteration(first.kind, first.step, first.use, why)

    def _kinds(self, use: BatchUse) -> list[str]:
        """How the use differs from what was delivered, but for passes beyond the usual ones."""
        others = use.differs + use.again + use.part
        if others and self.steps >= LEARNED and use.same + others > self.most > 0:
            return []
        return [kind for kind in KINDS if getattr(use, kind)]

    def _plain(self, use: BatchUse) -> Alteration | None:
        self.steps += 1
        self.most = max(self.most, use.same)
        if use.same:
            self.iteration = use.iteration
            if self.waiting is not None:
                waited, self.waiting = self.waiting, None
                return waited
        return None

    def _judged(self, kind: str, use: BatchUse, step: int) -> Alteration:
        innocent = ""
        if kind == "again" and not use.newer:
            innocent = "no other batch had been delivered since"
        elif kind == "part" and use.rows > (1 - DROPPED) * use.of_rows:
            innocent = "few rows were left out, as those that are not valid may be"
        elif kind == "differs":
            innocent = self._why_differs(use)
        return Alteration(kind, step, use, innocent)

    def _why_differs(self, use: BatchUse) -> str:
        if not self.changed:
            self.since = use.groups
        self.changed += use.groups_changed
        self.pairs += use.pairs[: MAX_PAIRS - len(self.pairs)]
        if use.changed <= FEW * use.compared and _sets_apart(self.pairs, use):
            return "only values beyond the range of all others differ, or some are marked as not to count"
        chance = (self.since / (self.groups + self.since)) ** self.changed
        if chance > CHANCE:
            return "so little differs that it may have done so, by chance, from the start"
        if not use.whole and use.changed > ALL * use.compared and self.steps < WIDE:
            return "all values differ, as an augmentation that comes by chance makes them"
        return ""


def _sets_apart(pairs: list[list[float]], use: BatchUse) -> bool:
    """Whether the program means certain values: limits, missing numbers, what a loss is told to ignore."""
    if not pairs:
        return False
    if use.whole and all(now < 0 <= was for was, now in pairs):
        return True
    if use.low is None or use.high is None or use.spared:
        return False
    return all(was > use.high or was < use.low for was, _ in pairs)
