"""What each step left behind, kept until the next one is seen."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from ....core.finding import Evidence
from ....core.observation import HooksMoved, Observation, OptimizerDeclared, StepRecord
from ....core.sample import TensorSample
from ....core.sweep import Sweep
from .compare import Change, compare, compare_sweeps, name_of
from .counts import Counts

MAX_OPTIMIZERS = 1024
_SHOWN = 5


@dataclass(slots=True)
class _Left:
    """What an optimizer's last step left, and what came since then.

    ``restored``: a ``load_state_dict``; ``read``: a checkpoint was read; ``loaded``: one of the two, as the
    program may have put in place by itself what it read; ``lost``: a record is missing; ``hooked``: a step
    hook of another optimizer changed it.
    """

    step: int
    samples: dict[int, TensorSample]
    fingers: dict[int, int]
    swept: Sweep
    rates: Sequence[float] = ()
    restored: bool = False
    read: bool = False
    loaded: bool = False
    lost: bool = False
    hooked: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """One step against the step before. ``checked`` is false with a ``reason``; ``whole`` are the tensors
    whose fingerprint differs, ``loaded`` says that a checkpoint was read in between, ``restored`` that values
    were put in by ``load_state_dict``, ``restarted`` that the rate of a group is at least twice what it was.
    ``since`` is the step after which all was as it should be; None: the one before.
    """

    checked: bool
    reason: str = ""
    changes: Sequence[Change] = ()
    whole: Sequence[int] = ()
    loaded: bool = False
    restored: bool = False
    restarted: bool = False
    since: int | None = None

    @property
    def cleared(self) -> bool:
        """Whether all that changed is optimizer state that is gone."""
        return not self.whole and all(
            change.field != "param" and not len(change.later) for change in self.changes
        )

    @property
    def broken(self) -> bool:
        """Whether anything differs."""
        return bool(self.changes or self.whole)

    def what(self) -> str:
        """Weights, optimizer state, or both."""
        weights = bool(self.whole) or any(change.field == "param" for change in self.changes)
        state = any(change.field != "param" for change in self.changes)
        if weights and state:
            return "weights and optimizer state"
        return "weights" if weights else "optimizer state"

    def tensors(self) -> set[int]:
        """The tensors that changed, by number."""
        return {change.tensor for change in self.changes} | set(self.whole)

    def fields(self) -> set[str]:
        """The fields that changed, by the optimizer's names for them."""
        return {change.field for change in self.changes} | ({"param"} if self.whole else set())

    def subject(self, names: Sequence[str]) -> str:
        """The tensors concerned, by name."""
        tensors = list(dict.fromkeys([*(change.tensor for change in self.changes), *self.whole]))
        first = ", ".join(name_of(tensor, names) for tensor in tensors[:3])
        more = f" and {len(tensors) - 3} more" if len(tensors) > 3 else ""
        return f"{self.what()} of {first}{more}"

    def fingers(self, names: Sequence[str]) -> list[Evidence]:
        """Evidence of whole tensors whose fingerprint differs."""
        return [
            Evidence(f"{name_of(tensor, names)}, fingerprint of the whole tensor", "unchanged", "changed")
            for tensor in self.whole[:_SHOWN]
        ]


@dataclass(slots=True)
class _Declared:
    class_name: str = ""
    names: list[str] = field(default_factory=list)
    counts: Counts | None = None


class Memories:
    """Last steps by (pid, optimizer), with names and what happened since."""

    def __init__(self) -> None:
        self._left: OrderedDict[tuple[int, int], _Left] = OrderedDict()
        self._declared: OrderedDict[tuple[int, int], _Declared] = OrderedDict()
        self._sequence: OrderedDict[int, int] = OrderedDict()

    def sequence(self, seen: Observation) -> None:
        """Notice lost records: a guard numbers its records without holes."""
        pid, number = seen.origin.pid, seen.origin.seq
        if number < 0 or seen.origin.source != "guard":
            return
        last = self._sequence.get(pid)
        if last is not None and number > last + 1:
            self._mark(pid, lost=True)
        self._sequence[pid] = max(number, last if last is not None else number)
        if len(self._sequence) > MAX_OPTIMIZERS:
            self._sequence.popitem(last=False)

    def declare(self, seen: OptimizerDeclared) -> None:
        """Names of an optimizer's tensors; a new declaration means other tensors."""
        key = (seen.origin.pid, seen.optimizer.index)
        names = [tensor.name for tensor in seen.optimizer.tensors]
        if key in self._declared and self._declared[key].names != names:
            self._left.pop(key, None)
        # What a class of the program's own calls `step` may be anything.
        counts = Counts(len(names)) if seen.optimizer.inherits else None
        self._declared[key] = _Declared(seen.optimizer.class_name, names, counts)
        if len(self._declared) > MAX_OPTIMIZERS:
            self._declared.popitem(last=False)

    def loaded(self, pid: int, *, restored: bool) -> None:
        """A checkpoint was read in that process, or ``restored`` into a module or an optimizer."""
        self._mark(pid, read=not restored, loaded=True, restored=restored)

    def hooked(self, seen: HooksMoved) -> None:
        """Step hooks of the program changed values; those of the stepping optimizer are read after that."""
        left = self._left.get((seen.origin.pid, seen.optimizer))
        declared = self._declared.get((seen.origin.pid, seen.optimizer))
        if declared is not None and declared.counts is not None:
            declared.counts.last.clear()
        if left is not None and seen.optimizer != seen.stepping:
            left.hooked = True

    def names(self, pid: int, optimizer: int) -> list[str]:
        """Tensor names of an optimizer, empty when it was not declared."""
        declared = self._declared.get((pid, optimizer))
        return declared.names if declared is not None else []

    def class_name(self, pid: int, optimizer: int) -> str:
        """Class of an optimizer, empty when it was not declared."""
        declared = self._declared.get((pid, optimizer))
        return declared.class_name if declared is not None else ""

    def step(self, record: StepRecord) -> Verdict | None:
        """Compare a step with what the one before left, and keep what it leaves. None: it is the first."""
        key = (record.origin.pid, record.optimizer)
        before = self._left.pop(key, None)
        self._left[key] = _Left(
            record.step,
            {sample.tensor: sample for sample in record.samples if not sample.repeated},
            _fingers(record.fingerprint_after),
            record.swept_after,
            _rates(record),
        )
        if len(self._left) > MAX_OPTIMIZERS:
            self._left.popitem(last=False)
        if before is None or record.step != before.step + 1:
            self._counted(key, record, comparable=False)
            if before is None and record.step <= 0:
                return None
            return Verdict(False, "the record of the step before is missing")
        verdict = _judge(before, record)
        explained = before.restored or before.loaded or before.lost or before.hooked or verdict.restarted
        ordinary = verdict.checked and not verdict.broken and not explained
        since, fallen = self._counted(key, record, comparable=ordinary)
        return replace(verdict, changes=fallen, since=since) if fallen else verdict

    def _counted(
        self, key: tuple[int, int], record: StepRecord, *, comparable: bool
    ) -> tuple[int, Sequence[Change]]:
        declared = self._declared.get(key)
        if declared is None or declared.counts is None:
            return record.step, ()
        return declared.counts.take(record, comparable=comparable)

    def _mark(
        self,
        pid: int,
        *,
        read: bool = False,
        loaded: bool = False,
        restored: bool = False,
        lost: bool = False,
    ) -> None:
        for key, left in self._left.items():
            if key[0] == pid:
                left.read = left.read or read
                left.loaded, left.lost = left.loaded or loaded, left.lost or lost
                left.restored = left.restored or restored


def _judge(before: _Left, record: StepRecord) -> Verdict:
    compared = 0
    changes: list[Change] = []
    for sample in record.samples:
        former = before.samples.get(sample.tensor) if sample.repeated else None
        if former is not None:
            fields, found = compare(former, sample)
            compared += fields
            changes += found
    swept, found = compare_sweeps(before.swept, record.swept_before)
    compared += swept
    seen = {change.tensor for change in changes if change.field == "param"}
    changes += [change for change in found if change.tensor not in seen]
    now = _fingers(record.fingerprint_before)
    both = [tensor for tensor in before.fingers if tensor in now]
    whole = [tensor for tensor in both if before.fingers[tensor] != now[tensor]]
    if not compared and not both:
        return Verdict(False, "no element was read on both sides of two steps")
    if changes or whole:
        if before.restored:
            why = "values were loaded between two steps"
            return Verdict(False, why, changes, whole, before.read, restored=True)
        if before.lost:
            return Verdict(False, "records between two steps were lost")
        if before.hooked:
            return Verdict(False, "a hook of another optimizer's step changed values between two steps")
    rates = zip(before.rates, _rates(record), strict=False)
    restarted = any(0 < 2 * former <= now for former, now in rates)
    return Verdict(True, "", changes, whole, before.loaded, restarted=restarted)


def _rates(record: StepRecord) -> list[float]:
    rates = [group.get("lr") for group in record.groups]
    return [float(rate) if isinstance(rate, (int, float)) else 0.0 for rate in rates]


def _fingers(pairs: Sequence[Sequence[int]]) -> dict[int, int]:
    return {pair[0]: pair[1] for pair in pairs if len(pair) == 2}
