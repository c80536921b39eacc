"""The steps of training, and weights that moved without one."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..contract import Hyper
from ..gradients import NO_GRADIENTS, Gradients
from ..sample import TensorSample
from ..sweep import NOT_SWEPT, Sweep
from .root import Observation


@dataclass(frozen=True, slots=True)
class BatchUse:
    """What became of one tensor of a loader's batches at the backward passes since the last step.

    ``view``: ``graph`` where the tensor is found among what autograd keeps for the backward pass, ``memory``
    where only the delivered tensor itself could be read again. Of the passes, so many were on what was
    delivered and not trained on at an earlier step (``same``), on what had been (``again``; ``newer``: a
    batch that was not had been delivered since), on the first ``rows`` of ``of_rows`` rows (``part``), or on
    other values (``differs``). ``compared`` elements were read, ``changed`` of them differ, and so do
    ``groups_changed`` of ``groups`` (items of the batch, or stretches of them). ``pairs`` are some of those,
    as delivered and as used; the others lie from ``low`` to ``high``, ``spared`` of them with a value that
    differs elsewhere. ``whole``: they are integers. ``iteration`` and ``number`` are those of the delivery
    concerned last.
    """

    loader: int
    tensor: str
    view: str
    iteration: int
    number: int
    same: int
    compared: int
    groups: int
    again: int = 0
    newer: bool = False
    part: int = 0
    rows: int = 0
    of_rows: int = 0
    differs: int = 0
    changed: int = 0
    groups_changed: int = 0
    spared: int = 0
    pairs: list[list[float]] = field(default_factory=list)
    whole: bool = False
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class StepRecord(Observation):
    """One optimizer step as the guard saw it from both sides.

    ``step`` counts this optimizer's steps in this run from 0. ``groups`` are the hyper-parameters in force
    at the call. ``phases`` are nanoseconds since the last step: ``data``, ``forward``, ``backward``,
    ``optimizer``, ``other``. ``loss`` is the value of the tensor ``backward`` was called on, NaN when none.
    ``fingerprint_after`` lists ``[tensor, keyed fingerprint]`` of whole tensors, ``fingerprint_before`` of
    those fingerprinted after the previous step; see ``guard/fingerprint.py``.
    ``rng`` are digests of the generators' states. ``closure``: step was given a closure, or hooks of the
    program run between the two readings (those of a step within a step, and of a compiled one), so that
    gradients or weights may change in between.
    ``compiled``: the optimizer's step runs as code of torch.compile, which keeps scalars as float32 tensors.
    ``scaled``: gradients are divided by a loss scale within the step (a GradScaler with a fused optimizer):
    ``scale``, None when it could not be read. ``skipped``: the scaler told this step to change nothing.
    ``swept_after`` are a few elements of every parameter as the step left them, ``swept_before`` the same
    elements of the sweep after the step before, read again before this one. ``gradients`` is the way of the
    gradients from the last backward pass to this step.
    ``losses`` counts the backward passes since the last step; of several, ``loss_sum`` is the sum of their
    losses, None when one of them cannot be told. ``training``: whether a pass since the last step was made in
    training mode, None where that changes nothing. ``buffers`` are running statistics written in place since
    the last step: ``[name, times, whether their count of batches was set back]``.
    ``settings`` are those of torch's layers, and of ``torch`` itself, that were set since the last step:
    ``[layer, name, before, after]``, the first few. ``exchanged`` are entries of modules that held one of the
    optimizer's parameters, and hold one with a gradient now that no optimizer has.
    ``followed`` running statistics were derived again from those before a forward pass and its batch;
    ``statistics`` are those that came out otherwise: ``[name, which, largest difference, largest value]``.
    ``written`` are the tensors that were written in place since the last step, whatever the sweep shows, as
    ``[tensor, times]``, of those swept then that ``sweep.counted`` gives; None when torch does not count it.
    ``dropping``: a module of the optimizer's would draw a dropout mask in a pass made now.
    ``shared`` are ``[optimizer, tensors]`` of those that were the last to step on parameters of this one,
    with how many of them have a gradient now.
    ``uses`` tells what became of delivered batches, ``unused``
    why nothing can be told (None: an earlier guard, which did not look).
    ``roots`` are ``[way, passes, factor]`` of the backward passes since the last step, alike ones in a row
    together: the number of a ``BackwardRoot`` (-1: none is known), and the product of the plain numbers on
    that way, a GradScaler's scale left out (None: one could not be read).
    ``set_to`` is the digest of the state that torch's generator was last set to (by a seed, or a state put
    back) since the step before of any optimizer, empty when it was not.
    ``close``: all tensors of the sample were read, not two of them to save time.
    """

    optimizer: int
    step: int
    groups: list[dict[str, Hyper]]
    phases: dict[str, int]
    loss: float | None
    losses: int
    rng: dict[str, str]
    fingerprint_before: list[list[int]]
    fingerprint_after: list[list[int]]
    total_norm: float | None
    max_norm: float | None
    scaled: bool
    closure: bool
    samples: list[TensorSample] = field(default_factory=list)
    swept_before: Sweep = NOT_SWEPT
    swept_after: Sweep = NOT_SWEPT
    gradients: Gradients = NO_GRADIENTS
    compiled: bool = False
    scale: float | None = None
    skipped: bool = False
    loss_sum: float | None = None
    training: bool | None = None
    buffers: list[list[Hyper]] = field(default_factory=list)
    dropping: bool = False
    settings: list[list[Hyper]] = field(default_factory=list)
    exchanged: list[str] = field(default_factory=list)
    followed: int = 0
    statistics: list[list[Hyper]] = field(default_factory=list)
    written: list[list[int]] | None = None
    shared: list[list[int]] = field(default_factory=list)
    uses: list[BatchUse] = field(default_factory=list)
    unused: str | None = None
    set_to: str = ""
    close: bool = True
    roots: list[list[int | float | None]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class StepsPassed(Observation):
    """``count`` steps of an optimizer, from ``first`` on, that the budget let pass unseen; they ``took`` so
    many nanoseconds. What loaders and schedulers did meanwhile was noted before this. A ``count`` of 0 says
    that it begins not to look. ``each``: microseconds of every one of them; empty in old records. ``since``:
    nanoseconds since the last one had ended, as this was said.
    """

    optimizer: int
    first: int
    count: int
    took: int
    each: list[int] = field(default_factory=list)
    since: int = 0


@dataclass(frozen=True, slots=True)
class WeightsMoved(Observation):
    """Parameters differ from what they were after the last step, and no step was seen in between.

    Seen when a batch is fetched or ``backward`` is called. ``after_step`` is the last seen step, -1 when
    none. ``step_replaced`` is the place of a ``step`` that was put on the optimizer instance, if any.
    ``at_step``: seen when another optimizer was about to step on the same parameters. ``back``: all values
    that are compared are again what they were after the last step.
    """

    optimizer: int
    after_step: int
    tensors: list[int]
    compared: int
    step_replaced: str
    path: str
    line: int
    at_step: bool = False
    back: bool = False


@dataclass(frozen=True, slots=True)
class HooksMoved(Observation):
    """Step hooks of the program changed weights or state, before or after an optimizer's own step.

    ``optimizer`` is the one whose tensors changed, ``stepping`` the one at whose ``step`` the hooks ran.
    ``since`` is the first of its steps at which all of these hooks were there. ``hooks``, ``paths`` and
    ``lines`` name the hooks and where they are defined. Of the tensors that changed, ``compared`` elements
    were compared and ``changed`` differ; some of these were ``former`` and are ``later``, both empty when one
    of them is not finite. ``fields`` are the names of what changed: ``param``, or fields of the state.
    """

    optimizer: int
    stepping: int
    step: int
    before: bool
    since: int
    hooks: list[str]
    paths: list[str]
    lines: list[int]
    tensors: list[int]
    fields: list[str]
    changed: int
    compared: int
    former: list[float]
    later: list[float]
