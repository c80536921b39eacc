"""What earlier runs of the same contract were like."""

from __future__ import annotations

from dataclasses import dataclass

from .root import Observation


@dataclass(frozen=True, slots=True)
class EarlierSeries:
    """One series of an earlier run: means of logarithms by window, in the order of the windows.

    Windows are those of ``core.windows``, names those of ``core.profile``.
    """

    name: str
    windows: list[int]
    means: list[float]


@dataclass(frozen=True, slots=True)
class EarlierRun:
    """A run that held. ``tree_size`` and ``tree_root`` (hexadecimal) are those of its ledger at its end.

    ``seed`` is the digest of torch's generator at its first step, ``bits`` that of what decides a number's
    last bits: torch's version, threads, instruction set, devices.
    """

    run: str
    tree_size: int
    tree_root: str
    seed: str
    bits: str
    series: list[EarlierSeries]


@dataclass(frozen=True, slots=True)
class EarlierRuns(Observation):
    """Runs of this home that held and whose contract has this one's ``likeness``, the newest first.

    Noted by the monitor at the first step of a run, from files beside the runs. ``seed`` and ``bits`` are
    this run's own.
    """

    likeness: str
    seed: str
    bits: str
    runs: list[EarlierRun]
