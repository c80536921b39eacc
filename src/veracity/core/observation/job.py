"""A job over several nodes: which one this run says it is part of, and what other nodes' monitors say."""

from __future__ import annotations

from dataclasses import dataclass, field

from .root import Observation


@dataclass(frozen=True, slots=True)
class JobJoined(Observation):
    """This run takes part in a job over several nodes, and its monitor has met in the folder of that job.

    ``job`` is a label, found as ``named`` says (a flag, the scheduler, the rendezvous): whoever submits the
    job chooses it, so it is evidence against nobody. ``node`` is this machine's name. ``nodes``: how many
    there are to be, 0 when nobody said.
    """

    job: str
    named: str
    node: str
    nodes: int


@dataclass(frozen=True, slots=True)
class ReplicaStep:
    """What ``ranks`` of one node held after one step, as digests.

    ``group`` names the optimizer, its tensors and the ranks that are to hold them alike
    (``core.replicas.group_of``); ``machine`` is what decides the bits there. ``at`` is when the step was
    made, in nanoseconds since the epoch. ``places`` is the digest of which elements were read, ``parts``
    (base64) those of what was there: of each tensor, or of equal stretches of them. ``fingers`` are
    ``[tensor, digest]`` of whole tensors' fingerprints.
    """

    group: str
    step: int
    at: int
    ranks: list[int]
    machine: str
    places: str
    parts: str
    fingers: list[list[int | str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class PeerReplicas(Observation):
    """Steps that the monitor of another node vouches for: ``origin.source`` is that node's run."""

    node: str
    steps: list[ReplicaStep]


@dataclass(frozen=True, slots=True)
class PeerSeen(Observation):
    """The monitor of another node in the job's folder: ``origin.source`` is its run.

    ``state``: ``began``, ``done`` (it has written all it has of the steps), or the outcome of its run.
    """

    node: str
    state: str
