"""The optimizer's step, the clipping of gradients or autograd itself started a program or opened a socket.

## The law

Channels: torch's own arithmetic has no business outside the process.

## What breaks it

An installed optimizer or clipping function that was patched to report, to fetch its orders, or to start
something from the one place that every job passes through.

## How it is checked

The interpreter announces programs and sockets before they are opened (PEP 578). Where the innermost code
that made the call is torch's own optimizer, clipping or autograd, that is an error: none of these does so.
Where an installed library stands in between it is a warning, since the handler of a signal (a scheduler's,
before it requeues a job) may have interrupted the step just there. The program's own hooks, closures and
handlers, warnings that go to a log over the network, compilers, devices and collectives that are set up in
a first step, and imports are left alone.

## What fools it

Calls in native code; code that is defined in other files and put in their place (`code-function-swapped`);
code that deceives the guard from within.

## What to do

Open the file named. It is installed code: compare it with its distribution, and reinstall it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

from ....core.coverage import Coverage
from ....core.finding import Evidence, Finding, Location, finding_of
from ....core.observation import CallFrame, ChannelUsed, Observation
from ....core.rule import Confidence, Rule, Severity
from .callers import builds, is_installed, said, stack

MAX_FINDINGS = 50
# Hooks and closures of programs are called from these, and through a backward pass.
_CALLS_OTHERS = ("/torch/optim/optimizer.py", "/torch/optim/lbfgs.py", "/torch/autograd/")


class InStep:
    """One finding per place and target."""

    rule: ClassVar[Rule] = Rule(
        "channel-in-step",
        "channels",
        "Torch's own arithmetic opened a way out of the process",
        Severity.ERROR,
        Confidence.HIGH,
    )
    takes: ClassVar[tuple[type[Observation], ...]] = (ChannelUsed,)

    def __init__(self) -> None:
        self._coverage = Coverage(self.rule.law, "looks")
        self._told: set[tuple[str, str, str, int]] = set()

    def observe(self, observation: Observation) -> Iterator[Finding]:
        """Judge one call below an optimizer, clipping or backward."""
        if not isinstance(observation, ChannelUsed) or observation.importing:
            return
        if observation.inside not in ("step", "clip", "backward"):
            return
        if observation.kind not in ("connect", "bind", "spawn") or builds(observation.frames):
            return
        guilty = _arithmetic(observation.frames)
        if guilty is None:
            return
        key = (observation.kind, observation.target, guilty.path, guilty.line)
        if key in self._told:
            return
        if len(self._told) >= MAX_FINDINGS:
            self._coverage.skip(f"more than {MAX_FINDINGS} calls in steps: the rest is not listed")
            return
        self._told.add(key)
        direct = observation.frames[0] == guilty
        yield finding_of(
            self.rule,
            f"{observation.kind} {observation.target}",
            f"{guilty.function} in {guilty.path} {said(observation)}",
            rank=observation.origin.rank,
            first_step=observation.step + 1,
            locations=(Location(guilty.path, guilty.line),),
            evidence=(
                Evidence(
                    f"torch's own {observation.inside}", expected="computes", observed=said(observation)
                ),
                stack(observation.frames),
            ),
            severity=Severity.ERROR if direct else Severity.WARNING,
            confidence=Confidence.HIGH if direct else Confidence.MEDIUM,
        )

    def finish(self) -> Iterator[Finding]:
        """Nothing is left for the end."""
        yield from ()

    def coverage(self) -> Coverage:
        """Looks are counted by ``channel-unexpected``, once for the law."""
        return self._coverage


def _arithmetic(frames: Sequence[CallFrame]) -> CallFrame | None:
    """The frame of torch's own arithmetic that made the call, with nothing but libraries below it."""
    for depth, frame in enumerate(frames):
        torch = "/torch/" in frame.path
        if torch and (depth == 0 or not any(part in frame.path for part in _CALLS_OTHERS)):
            known = ("/torch/optim/", "/torch/nn/utils/clip_grad.py", "/torch/autograd/")
            return frame if any(part in frame.path for part in known) else None
        if torch or not is_installed(frame.path):
            return None
    return None
