"""A gradient is not the derivative of the loss.

## The law

The gradient that an optimizer steps along is the derivative of the loss that was computed, tensor by tensor.

## What breaks it

A patched backward pass, a hook on a tensor or module, a custom autograd function, a compiled kernel with a
wrong derivative: the gradient of a layer is flipped, scaled, masked, zeroed or exchanged, and the loss itself
says nothing of it.

## How it is checked

On steps that a keyed draw chooses, before the optimizer steps, the forward pass is run again with the same
inputs, buffers and random numbers: unmoved, which must give the recorded outputs bit for bit, and with one
parameter tensor moved a little forwards and backwards. How the loss changes is compared with the inner
product of reported gradient and displacement. The direction is the reported gradient, which shows sign and
scale, or keyed random signs, which show what was masked, zeroed or exchanged. Real parameters, buffers and
random numbers are not touched, and autograd is not asked. Each check estimates its own error from a fourth
evaluation; where the loss changes by less than that, it is not counted. Data-parallel ranks check the same
tensor at the same step, and their losses are averaged as their gradients are. What looks wrong is repeated at
once with a smaller displacement, and other tensors are tried: a factor on all gradients alike is a program's
own scaling, and a note.

Parameters that are also used outside their module's forward pass (a penalty on weights, a head that shares
an embedding's matrix) and gradients that the program changes afterwards are not judged; nor is a module of
which something that it did not return is used (a feature that a hook keeps for another loss).

The program's hooks on forward passes are not called again. Outputs that are the recorded ones without them
were not changed by them, and the gradient must be that of what was computed.

What is taken from the program is how its loss depends on what the module returns. A module that returns the
loss is checked whole; one that returns predictions is checked from parameters to predictions. A loss function
outside of it is checked where the program names it (`veracity.protect`, `gradient-loss-not-derivative`).

## What fools it

A gradient that is wrong at steps that are not drawn, which the report states the odds of. A factor on all
gradients. Code that is right whenever it notices that it runs again. A hook that changes the outputs.

Where weights and biases of a normalisation are held at zero before a ReLU, the loss has no derivative, and
autograd gives zero by convention. Elements that are zero and have a gradient of zero are therefore tried
apart: where what they change forwards and backwards does not cancel, the step is not judged, nor where they
are fewer than eight.

What the forward pass takes out of the graph (``detach``, parts without gradients) is a constant to autograd.
Where it has done so since the first check, the check is made with all of that held constant.

Straight-through estimators and gradient reversal are wrong by intent. So where an autograd function of the
program, or what one of its hooks put in, lies between a tensor and the outputs, where the forward pass takes
tensors out of the graph (``detach``), or where a hook has changed gradients since its first steps, a
difference is a note, until that place was seen to be right: at a check of any tensor whose gradient passed
there whole, or at two of this one. From then on it is a warning, and an error if the tensor itself was right
at two checks. What is wrong from its first step on in such a place stays a note.

## What to do

Look at the tensor named, then for hooks on it (``register_hook``, ``register_full_backward_hook``) and for
custom autograd functions between it and the loss; those found are listed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from ....core.contract import OptimizerDeclaration
from ....core.coverage import Coverage
from ....core.finding import Evidence, Finding, finding_of
from ....core.observation import GradientChecked, Hello, Observation, OptimizerDeclared, StepRecord
from ....core.rule import Confidence, Rule, Severity
from ..replica.process import Process
from .slopes import GRADIENT, Agreement, Check, Slope, common_ratio, merged, telling

MAX_PROCESSES = 4096
MAX_PENDING = 64
MAX_OPTIMIZERS = 4096
MAX_TENSORS = 10**6
MAX_RIGHT = 10**5
UNCONFIRMED = 2
CONVINCED = 2
MUCH = 0.25
BLURRED = "the loss changed by too little, or too unevenly, to be compared"
HOOKED = "gradient scaled", "gradient changed"
CUT = "detached"
FUNCTION = "autograd function"
FIRST_CHECKS = 12
"""A function that is met in these has been in the program from its beginning."""
ROUNDED = "the gradient is no more than the rounding of larger ones"
STALE = "gradients were not zeroed before the backward passes that were captured"
NO_START = Process((), 1)
ALONE = "not all ranks of the group checked the same step"
UNGROUPED = "several ranks, and no DistributedDataParallel says whose losses the gradient is made of"


@dataclass(slots=True)
class _Optimizer:
    """One optimizer of one process, or of all ranks of its data-parallel group."""

    declared: OptimizerDeclaration
    ranks: int
    numels: dict[int, int]
    pending: dict[int, dict[int, GradientChecked]] = field(default_factory=dict)
    agreed: dict[int, int] = field(default_factory=dict)
    unconfirmed: list[Check] = field(default_factory=list)
    right: Counter[tuple[int, str]] = field(default_factory=Counter)
    cleared: set[str] = field(default_factory=set)
    reported: set[int] = field(default_factory=set)
    noted: set[int] = field(default_factory=set)
    factor: float = 1.0
    scaled: bool = False
    known: set[str] | None = None
    checks: int = 0
    functions: set[str] = field(default_factory=set)
    replacing: set[str] = field(default_factory=set)
    constant: bool = False

    def always_cut(self, check: Check) -> bool:
        """Whether the forward pass cuts its derivative, at places that were all there at the first check."""
        places = [place for place in check.surrogates if place.startswith(CUT)]
        return bool(places) and all(place in (self.known or ()) for place in places)


class NotDerivative:
    """Compares slopes of the loss with gradients."""

    rule: ClassVar[Rule] = Rule(
        "gradient-not-derivative",
        "gradient-truth",
        "A gradient is not the derivative of the loss",
        Severity.ERROR,
        Confidence.HIGH,
    )
    takes: ClassVar[tuple[type[Observation], ...]] = (
        Hello,
        OptimizerDeclared,
        StepRecord,
        GradientChecked,
    )

    def __init__(self) -> None:
        self._coverage = Coverage("gradient-truth", "steps")
        self._processes: dict[int, tuple[Process, int]] = {}
        self._optimizers: dict[tuple[int, int], _Optimizer] = {}
        self._groups: dict[tuple[Process, tuple[int, ...], int], _Optimizer] = {}

    def observe(self, observation: Observation) -> Iterator[Finding]:
        """Take one observation in; yield what it shows."""
        if isinstance(observation, Hello):
            if len(self._processes) < MAX_PROCESSES:
                self._processes[observation.origin.pid] = Process.of(observation), _world(observation)
        elif isinstance(observation, OptimizerDeclared):
            self._declare(observation)
        elif isinstance(observation, StepRecord):
            self._coverage.possible += 1
        elif isinstance(observation, GradientChecked):
            yield from self._take(observation)

    def finish(self) -> Iterator[Finding]:
        """Nothing is left to be said at the end."""
        yield from ()

    def coverage(self) -> Coverage:
        """Steps checked, of all steps of all processes."""
        return self._coverage

    def _declare(self, observation: OptimizerDeclared) -> None:
        declared, process = observation.optimizer, observation.origin.pid
        numels = {at: tensor.numel for at, tensor in enumerate(declared.tensors)}
        start, world = self._processes.get(process, (NO_START, 1))
        group = tuple(declared.replicas)
        if len(self._optimizers) >= MAX_OPTIMIZERS:
            return
        if len(group) > 1:
            key = start, group, declared.index
            shared = self._groups.get(key)
            if shared is None or shared.numels != numels:
                # All of them: the mean over those of one machine is not the gradient's loss.
                shared = self._groups[key] = _Optimizer(declared, len(group), numels)
            self._optimizers[process, declared.index] = shared
        else:
            ranks = 1 if world == 1 else 0
            self._optimizers[process, declared.index] = _Optimizer(declared, ranks, numels)

    def _take(self, record: GradientChecked) -> Iterator[Finding]:
        if 0 <= record.tensors < MAX_TENSORS:
            self._coverage.drawn_from = max(self._coverage.drawn_from, record.tensors)
        optimizer = self._optimizers.get((record.origin.pid, record.optimizer))
        if optimizer is not None and optimizer.known is None and not record.reason:
            optimizer.known = set(record.surrogates)
        if optimizer is not None and not record.reason and optimizer.checks < FIRST_CHECKS:
            optimizer.checks += 1
            optimizer.functions |= {place for place in record.surrogates if place.startswith(FUNCTION)}
        if optimizer is None or record.reason:
            self._coverage.skip(record.reason or "the optimizer was not declared")
        elif not optimizer.ranks:
            self._coverage.skip(UNGROUPED)
        elif not record.fresh:
            self._coverage.skip(STALE)
        else:
            held = optimizer.pending.setdefault(record.step, {})
            held[record.origin.rank] = record
            if len(held) >= optimizer.ranks:
                del optimizer.pending[record.step]
                check = merged([held[rank] for rank in sorted(held)], optimizer.numels)
                yield from self._judge(optimizer, check)
            elif len(optimizer.pending) > MAX_PENDING:
                del optimizer.pending[next(iter(optimizer.pending))]
                self._coverage.skip(ALONE)

    def _judge(self, optimizer: _Optimizer, check: Check | None) -> Iterator[Finding]:
        if check is None:
            self._coverage.skip(BLURRED)
            return
        factor = check.factor * optimizer.factor
        found = check.first.agreement(factor)
        if found is Agreement.DIFFERS and check.first.agreement(check.factor) is Agreement.AGREES:
            # What was taken for a factor on all gradients was one on those that were tried.
            found = Agreement.AGREES
        if found is Agreement.UNSEEN:
            self._coverage.skip(BLURRED)
            return
        if found is Agreement.AGREES:
            self._coverage.checked += check.ranks
            if check.first.direction == GRADIENT:
                self._agrees(optimizer, check)
            return
        if check.is_rounding:
            self._coverage.skip(ROUNDED)
            return
        held = check.held.agreement(factor) if check.held is not None else Agreement.DIFFERS
        if held is not Agreement.DIFFERS and optimizer.always_cut(check):
            if held is Agreement.AGREES:
                yield from self._constant(optimizer, check)
            else:
                self._coverage.skip(BLURRED)
            return
        closer = check.closer
        if closer is not None and not check.first.persists_in(closer, factor):
            self._coverage.skip(BLURRED)
            return
        if closer is None:
            # Ranks look closer only at what is far off on each of them: two such checks stand for one.
            optimizer.unconfirmed = [*optimizer.unconfirmed, check][-UNCONFIRMED:]
            if len(optimizer.unconfirmed) < UNCONFIRMED:
                self._coverage.checked += check.ranks
                return
        yield from self._differs(optimizer, optimizer.unconfirmed if closer is None else [check])

    @staticmethod
    def _agrees(optimizer: _Optimizer, check: Check) -> None:
        """Code that may replace derivatives has left this tensor's alone, and any if all of it passed."""
        tensor = check.first.tensor
        optimizer.agreed[tensor] = optimizer.agreed.get(tensor, 0) + 1
        if len(optimizer.right) < MAX_RIGHT:
            optimizer.right.update((tensor, place) for place in check.surrogates)
            optimizer.cleared.update(check.through)

    def _differs(self, optimizer: _Optimizer, checks: Sequence[Check]) -> Iterator[Finding]:
        """A factor on all gradients alike is the program's own scaling; what no factor explains is wrong."""
        ratios = [_ratio_of_all(check) for check in checks]
        check, ratio = checks[0], ratios[0]
        if None in ratios and not all(map(_stands_alone, checks)):
            self._coverage.skip(BLURRED)
            return
        meant = _meant(optimizer, check)
        if meant:
            self._coverage.skip(f"the program itself may replace the derivative: {meant[0]}")
            if check.first.tensor not in optimizer.noted:
                optimizer.noted.add(check.first.tensor)
                yield self._finding(optimizer, check, everywhere=ratio is not None)
            return
        self._coverage.checked += check.ranks
        if ratio is not None and ratio > 0:
            optimizer.factor = ratio / (check.factor or 1.0)
            if not optimizer.scaled:
                optimizer.scaled = True
                yield self._note(optimizer, check, optimizer.factor)
        elif check.first.tensor not in optimizer.reported:
            optimizer.reported.add(check.first.tensor)
            yield self._finding(optimizer, check, everywhere=ratio is not None)

    def _constant(self, optimizer: _Optimizer, check: Check) -> Iterator[Finding]:
        """Right, once all that the program takes out of the graph is held constant: it means to do so."""
        self._coverage.checked += check.ranks
        if optimizer.constant:
            return
        optimizer.constant = True
        yield finding_of(
            self.rule,
            f"optimizer {optimizer.declared.index}",
            f"step {check.step}: the forward pass takes tensors out of the graph; with these held constant, "
            "gradients are the derivative of the loss",
            first_step=check.step,
            severity=Severity.NOTE,
            evidence=tuple(Evidence("in the forward pass", observed=place) for place in check.surrogates),
        )

    def _note(self, optimizer: _Optimizer, check: Check, ratio: float) -> Finding:
        return finding_of(
            self.rule,
            f"optimizer {optimizer.declared.index}",
            f"step {check.step}: all gradients tried are {ratio:.4g} times the derivative of the loss; the "
            "program scales them after its backward pass",
            first_step=check.step,
            severity=Severity.NOTE,
        )

    def _finding(self, optimizer: _Optimizer, check: Check, *, everywhere: bool) -> Finding:
        first = check.first
        name = _name(optimizer.declared, first.tensor)
        before = optimizer.agreed.get(first.tensor, 0) >= CONVINCED
        meant = _meant(optimizer, check)
        scaled = any(place.startswith(HOOKED) for place in check.surrogates)
        # What once was right and is not any more may still be a program's schedule: of the strength, say, of
        # a function that has been in its way from the first check on.
        scheduled = bool(check.surrogates) and optimizer.functions.issuperset(check.surrogates)
        doubtful = bool(check.surrogates) and (not before or scheduled)
        message = f"step {check.step}: the gradient of {name} is not the derivative of the loss"
        message += f": {words(first, check.factor)}"
        if everywhere:
            message += ", and so it is with all tensors tried"
        elif before and first.direction == GRADIENT:
            message += "; at earlier steps it was"
        if meant:
            message += f"; the program itself may replace the derivative, and mean it: {meant[0]}"
        if scaled:
            message += "; a hook of the program changes it, and has done so from its first steps on"
        return finding_of(
            self.rule,
            name,
            message,
            first_step=check.step,
            severity=Severity.NOTE if scaled or meant else Severity.WARNING if doubtful else None,
            evidence=(
                evidence_of(name, first, check.factor),
                *(
                    evidence_of(_name(optimizer.declared, other.tensor), other, check.factor)
                    for other in check.others
                ),
                *(Evidence("in the forward pass", observed=place) for place in check.surrogates),
            ),
        )


def _meant(optimizer: _Optimizer, check: Check) -> list[str]:
    """Code of the program that may replace this tensor's derivative, and has not been seen not to.

    Where only a part of the gradient passes it, an agreement may be due to that part being small. What is cut
    and was held constant explains nothing of what is still wrong.
    """
    first, meant = check.first, []
    apart = abs(first.slope * check.factor - first.inner)
    small = apart <= MUCH * max(abs(first.slope * check.factor), first.expected)
    for place in check.surrogates:
        cut = place.startswith(CUT)
        if place.startswith(HOOKED) or place in optimizer.cleared or (cut and check.held is not None):
            continue
        times = optimizer.agreed.get(first.tensor, 0) if cut else optimizer.right[first.tensor, place]
        if times < CONVINCED or small or place in optimizer.replacing:
            meant.append(place)
            # A reversal whose strength grows from nothing begins by being nearly right.
            if small and place in optimizer.functions:
                optimizer.replacing.add(place)
    return meant


def _ratio_of_all(check: Check) -> float | None:
    """The factor that explains all gradients tried; None when there is none, or only one tells anything."""
    others = telling(check.others)
    everyone = [*telling([check.first]), *others]
    ratio = common_ratio(everyone) if others or check.lone else None
    if ratio is None or check.first in everyone:
        return ratio
    return ratio if check.first.agreement(ratio) is not Agreement.DIFFERS else None


def _stands_alone(check: Check) -> bool:
    """Whether the first is wrong under whatever factor the others have, or they have none in common."""
    others = telling(check.others)
    if not others:
        return check.lone
    ratio = common_ratio(others)
    if ratio is None:
        return True
    if check.first.agreement(ratio) is not Agreement.DIFFERS:
        return False
    return check.closer is None or check.first.persists_in(check.closer, ratio)


def words(slope: Slope, factor: float) -> str:
    """What is wrong with a gradient, for a finding's message."""
    if not slope.inner and not slope.expected:
        return "it is zero, and the loss does change with the tensor"
    if slope.direction == GRADIENT and slope.slope:
        return f"along itself it is {slope.ratio / (factor or 1.0):.4g} times that"
    return "along random signs the loss changes otherwise than it says"


def evidence_of(name: str, slope: Slope, factor: float) -> Evidence:
    """Both slopes, that of the loss and that by the gradient."""
    along = "its gradient" if slope.direction == GRADIENT else "keyed random signs"
    return Evidence(
        f"slope of the loss when {name} moves along {along}",
        expected=f"{slope.slope * factor:.6g} (error {slope.error * abs(factor):.2g})",
        observed=f"{slope.inner:.6g} by the gradient",
    )


def _name(declared: OptimizerDeclaration, tensor: int) -> str:
    return declared.tensors[tensor].name if tensor < len(declared.tensors) else f"tensor {tensor}"


def _world(hello: Hello) -> int:
    size = hello.ids.get("WORLD_SIZE", "1")
    return int(size) if size.isascii() and size.isdecimal() and len(size) < 7 else 1
