"""Observations: what was seen, never what it means. One frozen class per kind of thing.

Those that come from the guard are decoded from its frames (field names are the wire's names); the others
are made by the monitor from ``/proc``, files and its own clock. Detectors see nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from .contract import Hyper, LoaderDeclaration, OptimizerDeclaration, SchedulerDeclaration
from .origin import Origin
from .sample import TensorSample
from .sweep import NOT_SWEPT, Sweep


@dataclass(frozen=True, slots=True)
class Observation:
    """Root of all observations."""

    origin: Origin


# --- the process and its guard -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Hello(Observation):
    """A process in which the guard woke up because torch was imported.

    ``role``: ``rank`` (may train), ``launcher`` (torchrun's agent) or ``child`` (a multiprocessing child).
    ``ids``: RANK, WORLD_SIZE, LOCAL_RANK and so on as the environment gave them.
    """

    ppid: int
    role: str
    executable: str
    python: str
    torch: str
    optimize: int
    ids: dict[str, str]
    numerics: dict[str, str]


@dataclass(frozen=True, slots=True)
class Goodbye(Observation):
    """The guard's last word at interpreter exit, with what it counted."""

    records: int
    dropped: int
    steps: int


@dataclass(frozen=True, slots=True)
class Gap(Observation):
    """Something that could not be observed. Never a silent continue.

    ``law`` is the law that lost sight by it, empty when none did. ``stops`` is true when a law that could
    check until now no longer can: that makes the run ``incomplete``.
    """

    what: str
    reason: str
    remedy: str = ""
    law: str = ""
    stops: bool = False


@dataclass(frozen=True, slots=True)
class RecordDamaged(Observation):
    """A spool is not what the guard wrote: cut, overwritten, removed, or its numbers run backwards.

    ``reason`` says how it was noticed; ``after_seq`` is the last record that was taken in before.
    """

    stream: str
    reason: str
    after_seq: int
    step: int


@dataclass(frozen=True, slots=True)
class RecordsMissing(Observation):
    """A source's sequence numbers jumped from ``expected`` to ``got``: records in between never arrived.

    ``after_step`` is the last step heard of before the jump.
    """

    stream: str
    expected: int
    got: int
    after_step: int


# --- what the run declares -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OptimizerDeclared(Observation):
    """An optimizer before its first step."""

    optimizer: OptimizerDeclaration


@dataclass(frozen=True, slots=True)
class SchedulerDeclared(Observation):
    """A scheduler when it was constructed, or again when its state was loaded (``reloaded``)."""

    scheduler: SchedulerDeclaration
    reloaded: bool


@dataclass(frozen=True, slots=True)
class SchedulerStepped(Observation):
    """Calls of a scheduler's ``step`` since the last optimizer step.

    ``scheduler`` is the outermost one's index. ``last_epoch`` is its position after the call, ``explicit``
    true when the program passed an epoch or a metric itself. ``before_step`` is the optimizer ordinal of the
    step that comes next. ``lrs`` are the rates it left in the groups.
    """

    scheduler: int
    last_epoch: int
    explicit: bool
    before_step: int
    lrs: list[float]


# --- the steps -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StepRecord(Observation):
    """One optimizer step as the guard saw it from both sides.

    ``step`` counts this optimizer's steps in this run from 0. ``groups`` are the hyper-parameters in force
    at the call. ``phases`` are nanoseconds since the last step: ``data``, ``forward``, ``backward``,
    ``optimizer``, ``other``. ``loss`` is the value of the tensor ``backward`` was called on, NaN when none.
    ``fingerprint_after`` lists ``[tensor, keyed fingerprint]`` of whole tensors, ``fingerprint_before`` of
    those fingerprinted after the previous step; see ``guard/fingerprint.py``.
    ``rng`` are digests of the generators' states. ``closure``: step was given a closure, or hooks of the
    program run between the two readings, so that gradients or weights may change in between.
    ``swept_after`` are a few elements of every parameter as the step left them, ``swept_before`` the same
    elements of the sweep after the step before, read again before this one.
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


@dataclass(frozen=True, slots=True)
class WeightsMoved(Observation):
    """Parameters differ from what they were after the last step, and no step was seen in between.

    Seen when a batch is fetched or ``backward`` is called. ``after_step`` is the last seen step, -1 when
    none. ``step_replaced`` is the place of a ``step`` that was put on the optimizer instance, if any.
    ``at_step``: seen when another optimizer was about to step on the same parameters.
    """

    optimizer: int
    after_step: int
    tensors: list[int]
    compared: int
    step_replaced: str
    path: str
    line: int
    at_step: bool = False


# --- data ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LoaderStarted(Observation):
    """An iteration over a DataLoader begins. ``iteration`` counts those of this loader from 0."""

    loader: LoaderDeclaration
    iteration: int
    sampler: int


@dataclass(frozen=True, slots=True)
class SamplerStarted(Observation):
    """A sampler is about to produce the indices of one pass, captured at its first draw.

    ``generator_state`` is torch's CPU generator state (5,056 bytes, hexadecimal) just before the draw;
    empty when the sampler draws nothing. ``own_generator``: it holds a generator itself; otherwise it
    takes a seed from the default generator. DistributedSampler's fields are in ``parameters``.
    """

    sampler: int
    sampler_class: str
    length: int
    own_generator: bool
    generator_state: str
    parameters: dict[str, Hyper]
    exact_class: bool


@dataclass(frozen=True, slots=True)
class BatchesDrawn(Observation):
    """Indices that a loader drew from its sampler, batch by batch, and how many batches it delivered.

    ``first`` is the ordinal of the first batch in ``indices`` within the iteration. ``delivered`` is the
    number of batches handed to the program so far; ``digests`` are those of the batches delivered since
    the last record. ``ended``: the iteration ran to its end (not abandoned by a ``break``).
    """

    loader: int
    iteration: int
    first: int
    indices: list[list[int]]
    delivered: int
    digests: list[str]
    ended: bool


# --- saving and loading --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TensorDigest:
    """SHA-256 of a tensor's elements in row-major order. ``key`` is its path in the saved object."""

    key: str
    sha256: str
    dtype: str
    shape: list[int]


@dataclass(frozen=True, slots=True)
class CheckpointSaved(Observation):
    """``torch.save`` returned. ``tensors`` are those of the object given, ``path`` empty for a buffer.

    ``inode`` is that of the file written, 0 when unknown: a program may rename it a moment later.
    """

    path: str
    step: int
    tensors: list[TensorDigest]
    truncated: bool
    inode: int = 0


@dataclass(frozen=True, slots=True)
class CheckpointLoaded(Observation):
    """``torch.load`` returned. ``tensors`` are those of the object it returned."""

    path: str
    step: int
    tensors: list[TensorDigest]
    truncated: bool


@dataclass(frozen=True, slots=True)
class FileDigested(Observation):
    """A checkpoint file read by the monitor after the guard spoke of it.

    ``event``: ``saved`` or ``loaded``; ``seq`` is the guard record it belongs to. ``digest`` is empty when
    the file could not be read (a Gap says why). ``storages`` are the SHA-256 of the raw storages in a torch
    zip; empty for other formats. ``known``: runs that recorded this digest; ``path_known``: a digest was
    recorded for this path before, the last one being ``last_digest``. ``saved_tensors``: the tensor digests
    recorded when a file of this digest was saved.
    """

    event: str
    seq: int
    path: str
    digest: str
    storages: list[str]
    known: list[str]
    path_known: bool
    last_digest: str
    last_run: str
    saved_tensors: list[TensorDigest]
    size: int = 0


@dataclass(frozen=True, slots=True)
class StateRestored(Observation):
    """Parameters and optimizer state at the first step after a checkpoint was loaded into them.

    ``tensors``: digests of the parameters by name; ``state``: of optimizer state, key
    ``<tensor index>.<state name>``. ``loaded_modules``/``loaded_optimizer``: whether ``load_state_dict``
    was called on a module or on this optimizer since the last load.
    """

    optimizer: int
    step: int
    loaded_module: bool
    loaded_optimizer: bool
    tensors: list[TensorDigest]
    state: list[TensorDigest]


# --- code ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ModuleImported(Observation):
    """A module's code as the import system was about to execute it.

    ``captured``: ``bytecode`` (read from a .pyc; ``sha256`` is of its body, the body is the frame's blob
    unless known), ``source`` (compiled now; ``sha256`` is of the source), or ``none`` with ``reason``.
    """

    module: str
    path: str
    cached: str
    loader: str
    captured: str
    sha256: str
    reason: str


@dataclass(frozen=True, slots=True)
class ModuleChecked(Observation):
    """What the monitor found out about an imported module, outside the training process.

    ``source``: ``true`` (as its distribution's RECORD says), ``altered``, ``unrecorded`` (in no RECORD),
    ``elsewhere`` (its distribution's RECORD names another place), ``missing``.
    ``bytecode``: ``same`` as a fresh compile, ``forged``, ``stale`` (differs, but the file was changed after
    launch and no RECORD vouches for it), ``compiled`` (source was executed), ``unchecked`` with ``reason``.
    ``diff``: unified diff lines against the last trusted text, ``diff_from`` says which.
    """

    module: str
    path: str
    source_digest: str
    distribution: str
    installer: str
    source: str
    bytecode: str
    reason: str
    expected: str
    modified_at: int
    diff: list[str]
    diff_from: str
    first_line: int


@dataclass(frozen=True, slots=True)
class FunctionIdentity:
    """A function as it stands in memory: ``code`` is the digest of its code object, empty when it has none.

    ``path``/``line`` are where its code object says it was defined.
    """

    name: str
    code: str
    path: str
    line: int
    wrapped: str


@dataclass(frozen=True, slots=True)
class FunctionsSeen(Observation):
    """Watched functions (optimizer step, clipping, backward …) re-read while the run goes on."""

    step: int
    functions: list[FunctionIdentity]


@dataclass(frozen=True, slots=True)
class FunctionsExpected(Observation):
    """Code digests of the functions a file defines when freshly compiled: ``path`` → name → digest."""

    path: str
    sealed: bool
    distribution: str
    functions: dict[str, str]


# --- time and life -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StackFrame:
    """One frame of a Python stack, innermost first in a sample."""

    path: str
    line: int
    function: str
    source: str


@dataclass(frozen=True, slots=True)
class StackSampled(Observation):
    """The main thread's stack, read from outside while a step was late.

    ``after_step``: the last step heard of. ``late``: nanoseconds since then. ``asleep``: the kernel says the
    thread sleeps on a timer. ``span``: nanoseconds this sample stands for.
    """

    after_step: int
    late: int
    asleep: bool
    span: int
    frames: list[StackFrame]


@dataclass(frozen=True, slots=True)
class StacksUnavailable(Observation):
    """Stacks cannot be read from outside in this run, and why."""

    reason: str


@dataclass(frozen=True, slots=True)
class HostLoad(Observation):
    """What a rank's process waited for, read from /proc, over ``span`` ns: all values in nanoseconds."""

    span: int
    run_queue: int
    block_io: int
    cpu: int


@dataclass(frozen=True, slots=True)
class ProcessEnded(Observation):
    """A process of the job ended.

    ``how``: ``exited``, ``signalled`` or ``unknown``. ``code``: exit code or signal number.
    ``role``: ``root`` (what ``run`` started), ``rank``, ``launcher``, ``child`` or ``other``.
    ``explained``: the known cause, empty when there is none. ``parent_alive``: its parent was alive.
    """

    role: str
    command: str
    how: str
    code: int
    parent: int
    parent_alive: bool
    explained: str
    step: int


@dataclass(frozen=True, slots=True)
class SignalForwarded(Observation):
    """The monitor received a signal and passed it on to the job."""

    signal: int
