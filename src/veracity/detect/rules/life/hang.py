"""The job hangs: nobody makes steps, and who waits for whom.

## The law

Life: no process of the job ends, stops or freezes without a known cause. A job that trains goes on training.

## What breaks it

A rank that sleeps, loops, waits for a lock or leaves while all others wait in a collective for it; ranks that
call different collectives; a worker of a loader that never delivers.

## How it is checked

When no rank has made a step for two minutes (`--hang-after`) and for much longer than usual, the stacks of
all ranks of this node are read three times from outside. A rank whose stack stays in a collective, or in a
backward pass that uses no processor, waits; the others are waited for, and their lines are named. A rank that
is waited for and moves on between the looks (an evaluation, a save, a compilation) makes it a note, one that
does not a warning. A job of one process is a warning when it waits for its loader's workers, else a note.
Steps that come afterwards are told, but a finding stays: the time is lost.

## What fools it

Hangs before the first step; ranks of other nodes, which are not seen. A busy loop through many lines looks
like work. Without py-spy the stacks are not read: then only the states of the ranks are told. Frameworks that
wait in compiled code outside a collective look like computing.

## What to do

Open the line of the rank that is waited for. If ranks wait in different collectives, compare the branches
that led them there. A rank that is gone tells how it ended in the `life` findings.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

from ....core.coverage import Coverage
from ....core.finding import Evidence, Finding, Location, finding_of
from ....core.observation import JobStuck, Observation, RankStuck, StackFrame
from ....core.rule import Confidence, Rule, Severity

MAX_FINDINGS = 40
IDLE = 200
"""Thousandths of a processor below which a main thread counts as waiting."""

_WRAPPERS = ("c10d_logger.py", "_functional_collectives.py", "_tensor.py", "graph.py")
_COLLECTIVES = ("/torch/distributed/", "/torch/nn/parallel/", "/horovod/", "/deepspeed/comm/", "/mpi4py/")
_NO_COLLECTIVES = ("/torch/distributed/checkpoint/", "/torch/distributed/elastic/")
_BACKWARD = "/torch/autograd/"
# What may take minutes on one rank, with a stack that stays the same, while the others wait for it.
_LONG_WORK = (
    *("/torch/serialization.py", "/torch/distributed/checkpoint/", "/torch/_inductor/", "/torch/_dynamo/"),
    *("/safetensors/", "/huggingface_hub/", "/wandb/", "/mlflow/", "/fsspec/", "/shutil.py"),
)
_LOADER = ("/torch/utils/data/", "/multiprocessing/queues.py")
_PEOPLE = ("/pdb.py", "/bdb.py", "/IPython/", "/ipykernel/", "/code.py")


class Hang:
    """Says of each hang who waits and who is waited for."""

    rule: ClassVar[Rule] = Rule(
        "life-hang",
        "life",
        "The job hangs",
        Severity.WARNING,
        Confidence.MEDIUM,
    )
    takes: ClassVar[tuple[type[Observation], ...]] = (JobStuck,)

    def __init__(self) -> None:
        self._coverage = Coverage(self.rule.law, "processes")
        self._count = 0

    def observe(self, observation: Observation) -> Iterator[Finding]:
        """Judge one hang, or tell that it is over."""
        if not isinstance(observation, JobStuck):
            return
        self._count += 1
        if self._count > MAX_FINDINGS:
            self._coverage.skip(f"more than {MAX_FINDINGS} hangs: the rest is not listed")
            return
        if observation.over:
            self._coverage.skip(f"a hang was over after {observation.span / 1e9:.0f} s")
            return
        if any(
            frame.path.endswith(_PEOPLE) or "/IPython/" in frame.path
            for rank in observation.ranks
            for frame in rank.frames
        ):
            self._coverage.skip("a debugger held the program: that is no hang")
            return
        yield self._judge(observation)

    def _judge(self, stuck: JobStuck) -> Finding:
        waiting = {rank.rank: name for rank in stuck.ranks if (name := _waits_in(rank))}
        others = [rank for rank in stuck.ranks if rank.rank not in waiting]
        since = f"no rank made a step for {stuck.span / 1e9:.0f} s ({_usual(stuck.usual)} is usual)"
        if waiting and others:
            message = f"{since}: {_all_waiting(waiting)} for {_all_others(others)}"
            severity = Severity.NOTE if any(_moves(rank) for rank in others) else Severity.WARNING
        elif len(waiting) > 1:
            kinds = sorted(set(waiting.values()))
            what = "different collectives" if len(kinds) > 1 else "the same collective"
            message = f"{since}: all ranks of this node wait in {what}: {_all_waiting(waiting)}"
            if len(kinds) == 1:
                message += "; a rank of another node, or the network, does not answer"
            severity = Severity.WARNING
        else:
            message = f"{since}: {_all_others(others) or _all_waiting(waiting)}"
            loader = any(_waits_for_loader(rank) for rank in stuck.ranks)
            severity = Severity.WARNING if loader else Severity.NOTE
        culprit = next((rank for rank in others if rank.frames), None) or next(iter(stuck.ranks), None)
        place = _own(culprit.frames) if culprit is not None else None
        steps = [rank.step for rank in stuck.ranks]
        return finding_of(
            self.rule,
            "the job",
            message,
            rank=others[0].rank if len(others) == 1 else -1,
            first_step=min(steps) + 1 if steps else None,
            locations=(Location(place.path, place.line),) if place is not None else (),
            evidence=tuple(
                Evidence(
                    f"rank {rank.rank}",
                    expected=f"the step after {rank.step}",
                    observed=_state(rank, waiting.get(rank.rank, "")),
                    excerpt=tuple(
                        f"{one.path}:{one.line} {one.function}: {one.source}" for one in rank.frames[:8]
                    ),
                )
                for rank in stuck.ranks
            ),
            severity=severity,
            confidence=Confidence.MEDIUM if any(rank.frames for rank in stuck.ranks) else Confidence.LOW,
        )

    def finish(self) -> Iterator[Finding]:
        """Nothing is left for the end."""
        yield from ()

    def coverage(self) -> Coverage:
        """Processes are counted by ``life-killed``, once for the law."""
        return self._coverage


def _waits_in(rank: RankStuck) -> str:
    """The collective that a rank waits in, empty when it does not."""
    if rank.state in ("gone", "T", "t", "Z") or not rank.frames or not rank.same:
        return ""
    inner = [frame for frame in rank.frames[:6] if not frame.path.endswith(_WRAPPERS)]
    for frame in inner[:2]:
        local = any(part in frame.path for part in _NO_COLLECTIVES)
        if not local and any(part in frame.path for part in _COLLECTIVES):
            return frame.function
    if _BACKWARD in rank.frames[0].path and rank.cpu < IDLE:
        return "the collective of backward"
    return ""


def _waits_for_loader(rank: RankStuck) -> bool:
    return (
        rank.same
        and rank.cpu < IDLE
        and any(part in frame.path for frame in rank.frames[:12] for part in _LOADER)
    )


def _moves(rank: RankStuck) -> bool:
    """Whether it does something: another stack at each look, or work that is known to take long."""
    long_work = any(part in frame.path for frame in rank.frames[:12] for part in _LONG_WORK)
    return bool(rank.frames) and (not rank.same or long_work)


def _own(frames: Sequence[StackFrame]) -> StackFrame | None:
    """The innermost frame that is not an installed library's; the innermost of all when there is none."""
    installed = ("/site-packages/", "/dist-packages/", "/lib/python", "<")
    own = (frame for frame in frames if not any(part in frame.path for part in installed))
    return next(own, frames[0] if frames else None)


def _all_waiting(waiting: dict[int, str]) -> str:
    groups: dict[str, list[int]] = {}
    for rank, name in waiting.items():
        groups.setdefault(name, []).append(rank)
    said = []
    for name, ranks in groups.items():
        who, verb = ("rank", "waits") if len(ranks) == 1 else ("ranks", "wait")
        said.append(f"{who} {_numbers(ranks)} {verb} in {name}")
    return ", ".join(said)


def _all_others(others: Sequence[RankStuck]) -> str:
    said = []
    for rank in others[:4]:
        place = _own(rank.frames)
        where = f" at {place.path}:{place.line} ({place.function})" if place is not None else ""
        said.append(f"rank {rank.rank}, which {_doing(rank)}{where}")
    if len(others) > 4:
        said.append(f"{len(others) - 4} more")
    return ", ".join(said)


def _doing(rank: RankStuck) -> str:
    if rank.state == "gone":
        return "has ended"
    if rank.state in ("T", "t"):
        return "is stopped"
    if not rank.frames:
        return "could not be looked into"
    if _moves(rank):
        return "moves on" if not rank.same else "works"
    return "is busy" if rank.cpu >= IDLE else "does nothing"


def _state(rank: RankStuck, waits_in: str) -> str:
    return f"waits in {waits_in}" if waits_in else f"{_doing(rank)} (after step {rank.step})"


def _numbers(ranks: Sequence[int]) -> str:
    shown = ", ".join(str(rank) for rank in sorted(ranks)[:8])
    return shown + (f" and {len(ranks) - 8} more" if len(ranks) > 8 else "")


def _usual(ns: int) -> str:
    return f"{ns / 1e9:.2f} s" if ns < 60e9 else f"{ns / 60e9:.0f} min"
