"""What could not be observed of a source, in words: the gaps that the pipeline records."""

from __future__ import annotations

import time

from ..core.observation import Gap
from ..core.origin import Origin, Trust, monitor_origin
from ..core.quantity import quantity
from .processes import Known
from .streams import Source


def of_monitor(what: str, reason: str) -> Gap:
    """Something about the run as a whole."""
    return Gap(Origin("monitor", Trust.SERVICE, 0, -1, -1, time.time_ns()), what, reason)


def silent(source: Source) -> Gap:
    """A rank that trains has not been heard of for much longer than usual."""
    return Gap(
        monitor_origin(time.time_ns(), pid=source.pid, rank=source.rank),
        f"rank {source.rank} is silent for {time.monotonic() - source.last_heard:.0f} s",
        "no step, batch or checkpoint came; evaluation and compilation look like this too",
    )


def missing(origin: Origin, source: Source, got: int) -> Gap:
    """The numbers of a source's records jump to ``got``."""
    return Gap(
        origin,
        f"{quantity(got - source.next_seq, 'record')} of rank {source.rank} never arrived",
        f"the numbers jump from {source.next_seq - 1} to {got} after step {source.last_step}",
        remedy="was the disk full, or a spool edited? The guard counts what it has to drop",
    )


def damaged(origin: Origin, source: Source, pid: int, reason: str) -> Gap:
    """A spool is not what its guard wrote."""
    is_rank = source.role == "rank"
    what = f"the spool of process {pid} cannot be read on"
    return Gap(origin, what, reason, law="update" if is_rank else "", stops=is_rank)


def no_goodbye(source: Source) -> Gap:
    """A rank that trained ended without its guard's last record."""
    return Gap(
        monitor_origin(time.time_ns(), pid=source.pid, rank=source.rank),
        f"rank {source.rank} ended without a goodbye",
        "it was killed, or left by os._exit: what it did after its last record is not known",
        remedy="end the program by returning from its main module, or by sys.exit",
        law="update",
        stops=True,
    )


def outlived(known: Known, command: str, run: str) -> Gap:
    """A process of the job is still there although the command has ended."""
    return Gap(
        monitor_origin(time.time_ns(), pid=known.pid, rank=known.rank, source="/proc"),
        f"process {known.pid} of the job outlived the command: {command}",
        "the command returned while a guarded process went on",
        remedy=f"veracity attach {run} takes in what it writes from now on",
        law="life",
    )
