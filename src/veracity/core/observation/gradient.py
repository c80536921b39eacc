"""Gradient truth: the loss evaluated again at moved parameters."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..trial import GradientTrial
from .root import Observation


@dataclass(frozen=True, slots=True)
class GradientChecked(Observation):
    """What one check of a step's gradients found, or why there was none (``reason``).

    ``trials``: the one that was drawn, then those made at once because it looked wrong. ``tensors`` is the
    number of tensors that checks can draw. ``rounding`` is the rounding of an evaluation. ``clip`` is what
    the gradients were multiplied with by clipping since the backward pass. ``fresh``: the gradient was zero
    before the backward passes that were captured. ``surrogates``: places at which the forward pass may
    replace the derivative of the tensor drawn, and at the first check and when something looked wrong, those
    at which it is cut. ``through``: those that all of its gradient passed. ``held``: the first trial again
    with everything constant that the forward pass takes out of the graph. ``cost`` in nanoseconds.
    """

    optimizer: int
    step: int
    tensors: int
    clip: float
    cost: int
    reason: str = ""
    trials: list[GradientTrial] = field(default_factory=list)
    calls: int = 0
    rounding: float = 0.0
    fresh: bool = False
    surrogates: list[str] = field(default_factory=list)
    through: list[str] = field(default_factory=list)
    held: list[GradientTrial] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class LossChecked(Observation):
    """What one check of a protected loss function found, or why there was none (``reason``).

    One call of the function numbered ``loss``, in the step ``step``, with one of the tensors that it was
    given moved: number ``input`` of ``inputs``, called ``input_name``, of ``numel`` elements. ``strict``: the
    program says that the function replaces no derivative on purpose. ``norm`` in ``trials`` is that of the
    gradient which left the function. All else is as in ``GradientChecked``.
    """

    loss: int
    name: str
    step: int
    strict: bool
    cost: int
    reason: str = ""
    input: int = 0
    input_name: str = ""
    numel: int = 0
    inputs: int = 0
    trials: list[GradientTrial] = field(default_factory=list)
    rounding: float = 0.0
    surrogates: list[str] = field(default_factory=list)
    through: list[str] = field(default_factory=list)
    held: list[GradientTrial] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class HookActed(Observation):
    """A hook of the program changed what it was given, after ``steps`` steps at which it had been called.

    ``hook``: ``tensor``, ``accumulated``, ``backward``, ``backward pre``, ``forward``, ``forward pre``,
    ``function`` (an autograd function that a hook on a forward pass put in) or ``step`` (hooks before an
    optimizer's step: ``name`` are all of them, the place is that of the first).
    ``relation`` of what it made to what it was given: ``scaled`` (all by ``ratio``), ``clamped``, ``cleared``
    (of what is not finite), ``other``, or ``replaced`` for outputs and inputs of modules. ``norm`` is that of
    the gradient it was given, ``share`` the share of elements that changed. ``step`` is the step to come.
    ``quiet`` is the largest norm among some of the last gradients that it left as they were, ``usual`` their
    median, both 0 if not known.
    """

    hook: str
    name: str
    path: str
    line: int
    step: int
    steps: int
    relation: str
    ratio: float
    norm: float
    share: float
    quiet: float = 0.0
    usual: float = 0.0


@dataclass(frozen=True, slots=True)
class BackwardRoot(Observation):
    """A way from a loss on which a backward pass begins to the loss function; told once for each.

    ``nodes`` are the nodes of the graph that multiply by a plain number, from the root on, ``gradient`` for a
    gradient that ``backward`` was given, ``again`` (``core.gradients.AGAIN``) before them. ``base`` is the
    first node that does something else. ``path`` and ``line`` are where ``backward`` is called, ``via_path``
    and ``via_line`` where the function that does so was called. Step records refer to it by the number
    ``root``.
    """

    root: int
    nodes: list[str]
    base: str
    path: str
    line: int
    via_path: str = ""
    via_line: int = 0
