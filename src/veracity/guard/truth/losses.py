"""Checks of the loss functions that the program has handed to ``veracity.protect``.

At a step that is drawn, one call of one of them is kept: what it was given, what it returned, the gradients
that came back to that, and the one that left it towards one of its inputs. When the backward pass that
brought them has ended, the call is repeated with that input moved, as a module is with a parameter moved
(``check.py``). It is not put off to the optimizer's step: what the call was given would live on for as long.
"""

from __future__ import annotations

import contextlib
import hashlib
import struct
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from time import perf_counter
from typing import TYPE_CHECKING

from ...core.sample import keyed_order
from ...core.trial import GradientTrial
from ..protection import Loss, registry
from .circumstances import kept_generators
from .direction import GRADIENT, RANDOM, seed_of
from .fitness import unfit
from .inputs import widened
from .losscall import Kept, LossCapture
from .rerun import NotRepeatableError, Rerun
from .trial import Bench, direction_for, is_suspicious

if TYPE_CHECKING:
    import torch

    from ..session import Session

CLOSER = (3.0, 9.0)
"""Parts of the first reach at which what looks wrong is tried again."""
MAX_FAILURES = 3
LOOKS = 4
"""Checks that look for places where the loss function cuts its derivative, whatever they show."""
HIDDEN = "detached at places that cannot be looked for"
SUSPICIOUS = {GRADIENT: 0.02, RANDOM: 0.03}


class LossTruth:
    """The checks of all protected losses of this process. They are due when those of an optimizer are."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._key = session.config.key
        self._capture: LossCapture | None = None
        self._owner = self._step = -1
        self._drawn = 0
        self._seconds = 0.0

    def wanted(self) -> bool:
        """Whether there is any to be checked, or to be told of."""
        return bool(registry.missed) or any(loss.alive for loss in registry.losses)

    # --- around a step -----------------------------------------------------------------------------

    def arm(self, owner: int, step: int) -> None:
        """The step that is coming of the optimizer ``owner`` was drawn: keep a call of one of the losses."""
        if registry.missed:
            self._session.gap("a protected loss function is not checked", registry.missed, law="loss-truth")
            registry.missed = ""
        losses = [loss for loss in registry.losses if loss.alive]
        if self._capture is not None or not losses:
            return
        cycle, place = divmod(self._drawn, len(losses))
        loss = losses[keyed_order(self._key + b"loss", cycle, len(losses))[place]]
        self._drawn += 1
        self._owner, self._step = owner, step
        data = hashlib.sha256(self._key + b"call" + struct.pack("<QQ", loss.index, step)).digest()
        call, draw = (int.from_bytes(data[at : at + 8], "little") for at in (0, 8))
        self._capture = LossCapture(loss, call % max(1, loss.calls), draw, self._session.shield.run)

    def backward_begins(self, *, partly: bool) -> None:
        """A backward pass begins, through a part of the graph only if ``partly``."""
        if self._capture is not None:
            self._capture.backwards += 1
            self._capture.inside, self._capture.counts = True, not partly

    def backward_ended(self) -> int:
        """It has ended: check the call that was kept, if its gradients have come. Returns nanoseconds."""
        capture = self._capture
        if capture is None:
            return 0
        capture.counts = capture.inside = False
        came = capture.kept is not None and bool(capture.kept.call.used)
        return self._finish(capture) if came or capture.failed else 0

    def backward_failed(self) -> None:
        """It raised: gradients may be those of a part of it."""
        if self._capture is not None:
            self._capture.counts = self._capture.inside = False
            self._capture.failed = self._capture.failed or "the backward pass raised"
            self._capture.drop()

    def settle(self, owner: int) -> float:
        """A step of the optimizer ``owner`` has ended: seconds that checks took since the last one."""
        capture = self._capture
        if capture is not None and owner == self._owner:
            why = "the loss function was called less often than in the step watched before"
            if not capture.seen:
                why = "the loss function was not called"
            elif capture.kept is not None:
                why = "no gradient came back to what the loss function returned"
            capture.failed = capture.failed or why
            self._finish(capture)
            capture.end()
            capture.loss.calls = max(1, capture.seen)
            self._capture = None
        seconds, self._seconds = self._seconds, 0.0
        return seconds

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """Calls within are the guard's own."""
        capture = self._capture
        if capture is not None:
            capture.aside = True
        try:
            yield
        finally:
            if capture is not None:
                capture.aside = False

    # --- the check -------------------------------------------------------------------------------------

    def _finish(self, capture: LossCapture) -> int:
        """Report what was found of the call, once; further calls of the step are counted only."""
        if capture.over:
            return 0
        capture.over = True
        started = perf_counter()
        loss, kept = capture.loss, capture.kept
        body: dict[str, object] = {
            "loss": loss.index,
            "name": loss.name,
            "step": self._step,
            "strict": loss.strict,
            "reason": capture.failed,
        }
        if kept is not None and not capture.failed:
            with self.aside():
                body.update(self._outcome(loss, kept))
        capture.drop()
        seconds = perf_counter() - started + capture.seconds
        self._seconds += seconds
        self._session.emit("loss", {**body, "cost": int(seconds * 1e9)})
        return int(seconds * 1e9)

    def _outcome(self, loss: Loss, kept: Kept) -> dict[str, object]:
        """What the check found, or the reason for which there is none."""
        try:
            with kept_generators():
                found = self._checked(loss, kept)
            loss.failures = 0
            return found
        except NotRepeatableError as error:
            loss.failures += error.counts
            loss.off = error.lasting or loss.failures >= MAX_FAILURES
            return {"reason": str(error)}
        except Exception as error:
            # What the program's function raises when it is called again must not end its training.
            loss.off = True
            return {
                "reason": f"calling the loss function again failed: {type(error).__name__}: {error}"[:300]
            }

    def _checked(self, loss: Loss, kept: Kept) -> dict[str, object]:
        why = unfit(kept.call.module)
        if why:
            raise NotRepeatableError(why)
        if kept.call.touched():
            raise NotRepeatableError(
                "the loss function's inputs or outputs were changed in place", lasting=False
            )
        rerun = Rerun(kept.call.module, [kept.call])
        rounding = rerun.null()
        wide = _needs_width(kept)
        if wide:
            rounding = _in_full_precision(rerun, kept)
        parameter = kept.parameter
        parameter.grad = _gradient(kept, parameter)
        kept.call.excuses = kept.edges.excuses(parameter)
        kind = (GRADIENT, RANDOM)[keyed_order(self._key + b"side", loss.drawn // 2, 2)[loss.drawn % 2]]
        loss.drawn += 1
        bench = Bench(rerun, rounding)
        first = self._try(bench, kept, kind)
        if first is None:
            raise NotRepeatableError("the gradient is not finite", lasting=False, counts=False)
        trials = [first]
        held: list[GradientTrial] = []
        doubted = _is_doubted(first, parameter, rounding)
        notes, through = rerun.excuses(parameter)
        if doubted or loss.looks < LOOKS:
            loss.looks += 1
            notes += [place for place in _cuts(rerun) if place not in notes]
        if doubted:
            self._confirm(rerun, bench, kept, first, rounding, wide=wide)
            trials += self._closer(bench, kept, first, CLOSER)
            if rerun.found and rerun.hold():
                held += self._closer(bench, kept, first, (1.0, *CLOSER))
        return {
            "input": kept.at,
            "input_name": kept.source.name,
            "numel": parameter.numel(),
            "inputs": len(kept.sources),
            "trials": [asdict(trial) for trial in trials],
            "rounding": rounding,
            "surrogates": notes,
            "through": through,
            "held": [asdict(trial) for trial in held],
        }

    def _try(self, bench: Bench, kept: Kept, kind: str, reach: float | None = None) -> GradientTrial | None:
        direction = direction_for(kind, kept.parameter, seed_of(self._key, self._step, kept.at))
        return bench.trial(kept.at, f"x{kept.at}", direction, reach) if direction is not None else None

    def _closer(
        self, bench: Bench, kept: Kept, first: GradientTrial, parts: Sequence[float]
    ) -> list[GradientTrial]:
        found = [self._try(bench, kept, first.direction, first.reach / part) for part in parts]
        return [one for one in found if one is not None]

    def _confirm(
        self, rerun: Rerun, bench: Bench, kept: Kept, first: GradientTrial, rounding: float, *, wide: bool
    ) -> None:
        """A difference may be due to how the call is repeated. Raises NotRepeatableError.

        An argument that the function reaches in another way as well is not moved there. And what is close in
        half precision (two candidates of a maximum) may fall out otherwise in full precision: then autograd,
        asked anew there, gives what the differences say, and the program's function is not to blame.
        """
        parameter = kept.parameter
        if kept.gradient is not None and not rerun.reaches(parameter):
            raise NotRepeatableError("the loss function reaches its inputs in a way that cannot be followed")
        if not wide:
            return
        reported, parameter.grad = parameter.grad, rerun.differentiated(parameter)
        try:
            anew = self._try(bench, kept, first.direction)
        finally:
            parameter.grad = reported
        if anew is not None and not _is_doubted(anew, parameter, rounding):
            raise NotRepeatableError(
                "in full precision the loss function takes another course", lasting=False, counts=False
            )


def _cuts(rerun: Rerun) -> list[str]:
    """Where the function takes tensors out of the graph.

    A function that was put in the place of one of torch's may not bear to be looked at (torch calls what
    stands under the name, with arguments of its own). That is no reason not to check it.
    """
    try:
        return rerun.cuts()
    except Exception:
        rerun.found.clear()
        return [HIDDEN]


def _needs_width(kept: Kept) -> bool:
    """Whether the loss is computed in half precision, in which small changes are lost."""
    import torch

    half = (torch.bfloat16, torch.float16)
    return bool(kept.call.autocasts) or any(one.given.dtype in half for one in kept.sources)


def _in_full_precision(rerun: Rerun, kept: Kept) -> float:
    """Repeat the call in float32 from now on; the rounding that this has. Raises NotRepeatableError."""
    widened(kept.call.module)
    kept.call.autocasts = ()
    try:
        return rerun.again_as_base()
    except Exception as error:
        why = f"the loss function cannot be called in full precision: {type(error).__name__}: {error}"
        raise NotRepeatableError(why[:300], lasting=False) from error


def _gradient(kept: Kept, parameter: torch.Tensor) -> torch.Tensor:
    import torch

    if kept.gradient is None:
        return torch.zeros_like(parameter)
    return kept.gradient.to(parameter.dtype)


def _is_doubted(trial: GradientTrial, parameter: torch.Tensor, rounding: float) -> bool:
    return is_suspicious(trial, parameter.numel(), rounding, 1.0, SUSPICIOUS[trial.direction])
