"""Which job over several nodes a run is part of, as a flag, the scheduler, or the launcher's own words say.

The label brings the monitors of one job to one folder and means nothing else: whoever submits a job chooses
it. A command without a sign of further nodes gets none, unless one is asked for.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

MAX_NAME = 64
MAX_WORDS = 200
_LAUNCHERS = ("torchrun", "torch.distributed.run", "torch.distributed.launch", "accelerate")
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")
_RANGE = re.compile(r"(\d{1,5})(?::(\d{1,5}))?\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Label:
    """``job`` is empty when there is none; ``named`` says whence it is. ``nodes``: how many, 0 unknown."""

    job: str = ""
    named: str = ""
    nodes: int = 0

    @property
    def folder(self) -> str:
        """The same as a folder's name: long or strange ones are told apart by their digest."""
        return name_of(self.job)


def label_of(given: str, environment: Mapping[str, str], command: Sequence[str], *, meets: bool) -> Label:
    """The job of a command; ``given`` by a flag or else found. ``meets``: a folder to meet in was given."""
    options = _options(command)
    least, most = _nodes(options, environment)
    if given:
        return Label(given, "--job", least)
    if most < 2 and not meets:
        return Label()
    job, named = _found(options, environment)
    if not job and meets:
        job, named = "job", "--job-folder"
    return Label(job, named, least) if job else Label()


def name_of(text: str) -> str:
    """``text`` as a name of one file, always the same and never a way out of a folder."""
    safe = _UNSAFE.sub("-", text)[:MAX_NAME]
    if safe == text and not text.startswith("."):
        return safe
    return f"{safe.lstrip('.')}-{hashlib.sha256(text.encode(errors='replace')).hexdigest()[:8]}"


def _found(options: Mapping[str, str], environment: Mapping[str, str]) -> tuple[str, str]:
    job, step = environment.get("SLURM_JOB_ID", ""), environment.get("SLURM_STEP_ID", "")
    # A scheduler's step may hold several jobs, each with a place of its own to meet.
    slurm = f"slurm-{job}" + (f".{step}" if step else "") if job else ""
    ids = (
        (slurm, "SLURM_JOB_ID"),
        (environment.get("TORCHELASTIC_RUN_ID", ""), "TORCHELASTIC_RUN_ID"),
        (options.get("rdzv-id", ""), "--rdzv-id"),
        (environment.get("PET_RDZV_ID", ""), "PET_RDZV_ID"),
    )
    # An id is often the same in every job of a person; where the ranks meet is not at the same time.
    places = (
        (options.get("rdzv-endpoint", ""), "--rdzv-endpoint"),
        (environment.get("PET_RDZV_ENDPOINT", ""), "PET_RDZV_ENDPOINT"),
        (_address(options.get("master-addr", ""), options.get("master-port", "")), "--master-addr"),
        (_address(options.get("main-process-ip", ""), options.get("main-process-port", "")), "accelerate"),
        (_address(environment.get("MASTER_ADDR", ""), environment.get("MASTER_PORT", "")), "MASTER_ADDR"),
    )
    found = [next((one for one in kind if one[0] not in ("", "none")), None) for kind in (ids, places)]
    said = [one for one in found if one is not None]
    return "@".join(job for job, _ in said), ", ".join(named for _, named in said)


def _address(host: str, port: str) -> str:
    return f"{host}:{port or '29500'}" if host else ""


def _nodes(options: Mapping[str, str], environment: Mapping[str, str]) -> tuple[int, int]:
    """How many nodes the job has at least and at most, as launcher or scheduler say; 0 when neither does."""
    said = (
        options.get("nnodes"),
        options.get("num-machines"),
        environment.get("PET_NNODES"),
        environment.get("SLURM_STEP_NUM_NODES"),
    )
    for word in said:
        match = _RANGE.match(word) if word is not None else None
        if match is not None:
            return int(match[1]), int(match[2] or match[1])
    world, local = (environment.get(name, "") for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"))
    if _RANGE.match(world) and local.isdecimal() and local.isascii() and int(local[:6]) > 0:
        nodes = int(world.partition(":")[0]) // int(local[:6])
        return nodes, nodes
    return 0, 0


def _options(command: Sequence[str]) -> dict[str, str]:
    """Flags of the launcher in a command; the first of a name counts, since later ones are the program's."""
    words = list(command[:MAX_WORDS])
    starts = [at for at, word in enumerate(words) if os.path.basename(word) in _LAUNCHERS]
    found: dict[str, str] = {}
    if not starts:
        return found
    for at in range(starts[0] + 1, len(words)):
        name, equals, value = words[at].partition("=")
        if not name.startswith("--"):
            continue
        if not equals:
            value = words[at + 1] if at + 1 < len(words) else ""
        found.setdefault(name[2:].replace("_", "-"), value)
    return found
