"""Gradient truth at the optimizer's step: which steps and tensors are checked, and the record of each check.

How the differences are judged stands in ``detect/rules/gradient/not_derivative.py``. The guard only decides
whether to look closer at once, since a step's inputs are gone after it.
"""

from __future__ import annotations

import contextlib
import hashlib
import struct
import weakref
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING

from ...core.sample import keyed_order
from ...core.trial import GradientTrial
from ..programhooks import hooks_that_change
from ..schedule import TRUTH, Schedule
from ..tensors import is_plain, walk
from .calls import Capture, holders
from .circumstances import kept_generators
from .declared import factor_of
from .direction import GRADIENT, RANDOM, Direction, seed_of
from .fitness import compiled_in_place, unfit
from .kinks import refuse_kink
from .losses import LossTruth
from .rerun import NotRepeatableError, Rerun
from .trial import Bench, direction_for, is_suspicious
from .uses import Captured, TooLargeError, used_outside

if TYPE_CHECKING:
    import torch

    from ..gradients import Passed
    from ..session import Session
    from ..tracked import Tracked

CLOSER = 4.0
FURTHER_TENSORS = 2
MAX_FAILURES = 3
MAX_DESCENTS = 3
SUSPICIOUS = {GRADIENT: 0.02, RANDOM: 0.25}
# One rank of several has its own loss, whose slope differs from that of the mean.
SUSPICIOUS_IN_GROUP = 0.5


@dataclass(frozen=True, slots=True)
class Place:
    """A parameter that can be tested: its position in the optimizer, and where its module keeps it."""

    tensor: int
    held_by: weakref.ref[torch.nn.Module]
    name: str

    def module(self) -> torch.nn.Module:
        """The module; raises NotRepeatableError when it is gone."""
        module = self.held_by()
        if module is None:
            raise NotRepeatableError("the module is gone")
        return module

    def parameter(self) -> torch.Tensor:
        """The parameter as the module holds it now; raises NotRepeatableError when it holds none."""
        self.module()
        found = self.held()
        if found is None:
            raise NotRepeatableError("a parameter was replaced in its module", lasting=False)
        return found

    def held(self) -> torch.Tensor | None:
        """The parameter, None when the module is gone or computes it from others now (``weight_norm``)."""
        module = self.held_by()
        try:
            return module.get_parameter(self.name) if module is not None else None
        except AttributeError:
            return None


@dataclass(slots=True)
class Watch:
    """What is remembered of one optimizer's checks."""

    identity: tuple[tuple[int, ...], ...]
    modules: list[weakref.ref[torch.nn.Module]]
    places: list[Place]
    schedule: Schedule
    capture: Capture | None = None
    chosen: Place | None = None
    kind: str = GRADIENT
    fresh: bool = False
    drawn: int = 0
    failures: int = 0
    descents: int = 0
    off: bool = False
    factor: float = 1.0
    outside: set[int] = field(default_factory=set)
    inner: bool = False
    unseen: bool = False
    walked: float = 0.0
    known: bool = False


class GradientTruth:
    """The checks of all optimizers of this process; ``overhead`` is the share of time for all dear looks.

    ``within`` is called amidst the forward passes that are captured.
    """

    def __init__(self, session: Session, overhead: float, within: Callable[[], None]) -> None:
        self._session = session
        self._within = within
        self._key = session.config.key
        self._overhead = overhead
        self.losses = LossTruth(session)
        self._watches: weakref.WeakKeyDictionary[torch.optim.Optimizer, Watch] = weakref.WeakKeyDictionary()

    # --- around a step -----------------------------------------------------------------------------

    def arm(self, optimizer: torch.optim.Optimizer, tracked: Tracked, seconds: float) -> None:
        """A step has ended after ``seconds``: if the next is to be checked, capture its forward passes."""
        if self._overhead <= 0:
            return
        watch = self._watches.get(optimizer)
        if watch is None or watch.identity is not tracked.identity:
            watch = self._watches[optimizer] = self._begin(tracked)
        if watch.capture is not None or (watch.off and not self.losses.wanted()):
            return
        watch.schedule.stepped(seconds)
        self._settle(watch, tracked)
        if not watch.schedule.draws(tracked.index, tracked.steps):
            return
        self.losses.arm(tracked.index, tracked.steps)
        if not watch.off:
            watch.chosen, watch.kind = self._choose(watch, tracked)
            watch.fresh, watch.outside, watch.inner = False, set(), False
            watch.unseen, watch.walked = False, 0.0
            modules = [module for module in _alive(watch.modules) if not compiled_in_place(module)]
            watch.capture = Capture(modules, self._session.shield.run, self._within)
            held = [one for one in (place.held() for place in watch.places) if one is not None]
            tracked.trail.mind(held)

    def renew(self, optimizer: torch.optim.Optimizer, *, alarm: bool = False) -> None:
        """A state was restored into ``optimizer`` or its modules: look closely again for a while."""
        watch = self._watches.get(optimizer)
        if watch is not None:
            watch.schedule.renew(alarm=alarm)

    def backward_begins(self, of: object, *, partly: bool) -> None:
        """A backward pass is about to add to the gradients: what they held before, if zeroed, is gone.

        Its graph is looked through for uses of the parameters that no repetition would show. ``partly``: it
        was told which tensors' gradients it is to bring.
        """
        self.losses.backward_begins(partly=partly)
        for watch in list(self._watches.values()):
            if watch.capture is None:
                continue
            watch.capture.counts = True
            if watch.chosen is None:
                continue
            module = watch.chosen.held_by()
            if module is None:
                continue
            calls = [call.nodes for call in watch.capture.calls if call.module is module]
            self._walk(watch, [tensor for _, tensor in walk(of)], calls)
            parameter = watch.chosen.held()
            gradient = parameter.grad if parameter is not None else None
            if gradient is None or not bool(gradient.any()):
                watch.fresh = True
                watch.capture.drop_consumed()

    def backward_ended(self) -> None:
        """Gradients that come back to outputs from here on are asked for by other ways and go elsewhere."""
        for watch in list(self._watches.values()):
            if watch.capture is not None:
                watch.capture.counts = False

    @staticmethod
    def _walk(watch: Watch, roots: Sequence[torch.Tensor], calls: Sequence[Captured]) -> None:
        started = perf_counter()
        wanted = {id(held) for place in watch.places if (held := place.held()) is not None}
        try:
            uses = used_outside(roots, wanted, calls)
            watch.outside |= uses.parameters
            watch.inner |= uses.inner
        except TooLargeError:
            watch.unseen = True
        watch.walked += perf_counter() - started

    def check(self, optimizer: torch.optim.Optimizer, tracked: Tracked) -> int:
        """The optimizer is about to step: check if its forward passes were captured. Returns nanoseconds."""
        watch = self._watches.get(optimizer)
        if watch is None:
            return 0
        if watch.capture is None:
            self._settle(watch, tracked)
            return 0
        capture, watch.capture = watch.capture, None
        capture.end()
        started = perf_counter()
        body = _head(tracked, watch)
        try:
            with kept_generators(), self.losses.aside():
                body.update(self._checked(watch, tracked, capture))
            watch.failures = 0
        except NotRepeatableError as error:
            body["reason"] = str(error)
            watch.failures += error.counts
            watch.off = watch.off or error.lasting or watch.failures >= MAX_FAILURES
        except Exception as error:
            # What the program's forward raises when it runs again must not end its training.
            body["reason"] = f"running the module again failed: {type(error).__name__}: {error}"[:300]
            watch.off = True
        seconds = perf_counter() - started + watch.walked + capture.seconds
        watch.schedule.looked(seconds + self.losses.settle(tracked.index))
        self._session.emit("gradient", {**body, "cost": int(seconds * 1e9)})
        return int(seconds * 1e9)

    def _settle(self, watch: Watch, tracked: Tracked) -> None:
        spent = self.losses.settle(tracked.index)
        if spent:
            watch.schedule.looked(spent)

    # --- which ---------------------------------------------------------------------------------------

    def _begin(self, tracked: Tracked) -> Watch:
        schedule = Schedule(self._key, self._overhead, TRUTH)
        watch = Watch(tracked.identity, [], [], schedule)
        self._place(watch, tracked, holders(tracked.parameters, _alive(tracked.held_by)))
        return watch

    def _place(self, watch: Watch, tracked: Tracked, modules: Sequence[torch.nn.Module]) -> None:
        watch.modules = [weakref.ref(module) for module in modules]
        names: dict[int, tuple[torch.nn.Module, str]] = {}
        for module in modules:
            names.update({id(parameter): (module, name) for name, parameter in module.named_parameters()})
        watch.places = []
        for place, parameter in enumerate(tracked.parameters):
            if is_plain(parameter) and id(parameter) in names and _can_move(parameter):
                module, name = names[id(parameter)]
                watch.places.append(Place(place, weakref.ref(module), name))
        if not watch.places:
            watch.off = True
            if tracked.parameters:
                why = "the optimizer's parameters are in no module that could be run again"
                self._session.emit("gradient", {**_head(tracked, watch), "reason": why, "cost": 0})

    def _choose(self, watch: Watch, tracked: Tracked) -> tuple[Place | None, str]:
        """The tensor to test and along what. Alone in keyed rotation; ranks draw by the step, to meet."""
        total = 2 * len(watch.places)
        if _several_ranks():
            data = hashlib.sha256(self._key + b"tensor" + struct.pack("<QQ", tracked.index, tracked.steps))
            at = int.from_bytes(data.digest()[:8], "little") % total
        else:
            cycle, place = divmod(watch.drawn, total)
            at = keyed_order(self._key + b"truth", cycle, total)[place]
            watch.drawn += 1
        for further in range(0, total, 2):
            chosen = watch.places[(at + further) % total // 2]
            parameter = chosen.held()
            if parameter is not None and parameter.requires_grad:
                return chosen, GRADIENT if at % 2 else RANDOM
        return None, GRADIENT

    # --- the check -------------------------------------------------------------------------------------

    def _checked(self, watch: Watch, tracked: Tracked, capture: Capture) -> dict[str, object]:
        place, step, passed = watch.chosen, tracked.steps, tracked.trail.passed
        if place is None:
            raise NotRepeatableError("all parameters are frozen", lasting=False, counts=False)
        rerun = self._rerun(watch, tracked, capture, place.module())
        if watch.unseen:
            raise NotRepeatableError("the graph is too large to look for uses of the parameters in it")
        if watch.inner:
            raise NotRepeatableError(
                "a result within the module's forward pass is used outside it", lasting=False
            )
        if id(place.parameter()) in watch.outside:
            raise NotRepeatableError(
                "the parameter is used outside its module's forward pass", lasting=False, counts=False
            )
        clip = factor_of(passed, place.parameter())
        rounding = rerun.null()
        bench = Bench(rerun, rounding)
        first = self._try(bench, place, watch.kind, step)
        if first is None:
            raise NotRepeatableError(
                "the tensor that was drawn has no finite gradient", lasting=False, counts=False
            )
        trials = [first]
        notes, through = rerun.excuses(place.parameter())
        notes += self._first_look(watch, rerun)
        held: list[GradientTrial] = []
        doubted = self._suspicious(first, place, rounding, watch.factor * clip)
        if doubted:
            factor = watch.factor * clip
            wrong = partial(self._suspicious, place=place, rounding=rounding, factor=factor)
            refuse_kink(bench, place.name, self._direction(place, first.direction, step), first, wrong)
            closer = self._try(bench, place, first.direction, step, first.reach / CLOSER)
            trials += [closer] if closer is not None else []
        # Ranks of a group do not know what their mean will look like, so there is always another to compare.
        others = self._others(watch, place, step, passed) if doubted or _several_ranks() else []
        for other in others[: FURTHER_TENSORS if doubted else 1]:
            further = self._try(bench, other, GRADIENT, step)
            trials += [further] if further is not None else []
        if doubted:
            notes += [place for place in rerun.cuts() if place not in notes]
            if rerun.hold():
                again = self._try(bench, place, first.direction, step, first.reach)
                held += [again] if again is not None else []
            notes += hooks_that_change(place.parameter())
            self._learn(watch, trials, clip)
        return {
            "clip": clip,
            "trials": [asdict(trial) for trial in trials],
            "calls": len(rerun.calls),
            "rounding": rounding,
            "fresh": watch.fresh,
            "surrogates": notes,
            "through": through,
            "held": [asdict(trial) for trial in held],
        }

    @staticmethod
    def _first_look(watch: Watch, rerun: Rerun) -> list[str]:
        """Where the forward pass cuts its derivative from the first check on."""
        if watch.known:
            return []
        # The check stands without it, and the next one looks again.
        with contextlib.suppress(Exception):
            places = rerun.cuts()
            watch.known = True
            return places
        return []

    def _rerun(self, watch: Watch, tracked: Tracked, capture: Capture, module: torch.nn.Module) -> Rerun:
        if capture.failed:
            raise NotRepeatableError(capture.failed)
        calls = [call for call in capture.calls if call.module is module]
        if not calls:
            self._descend(watch, tracked, capture)
            raise NotRepeatableError("the module that holds the parameters was not called", lasting=False)
        calls = [call for call in calls if call.used]
        if not calls:
            raise NotRepeatableError(
                "no gradient came back to what the module returned", lasting=False, counts=False
            )
        why = unfit(module)
        if why:
            raise NotRepeatableError(why)
        hooks = [hook for call in calls for hook in call.hooks if hook.compiled]
        if hooks:
            raise NotRepeatableError(f"a hook of the program may be in compiled code ({hooks[0].place})")
        if any(call.training != module.training for call in calls):
            raise NotRepeatableError(
                "the module was put into another mode after its forward pass", lasting=False, counts=False
            )
        if any(call.touched() for call in calls):
            raise NotRepeatableError("the module's inputs or outputs were changed in place", lasting=False)
        return Rerun(module, calls)

    def _descend(self, watch: Watch, tracked: Tracked, capture: Capture) -> None:
        """Programs may call parts of a module only: look for calls of its children from now on."""
        if capture.calls or watch.descents >= MAX_DESCENTS:
            return
        watch.descents += 1
        children = [child for module in _alive(watch.modules) for child in module.children()]
        self._place(watch, tracked, holders(tracked.parameters, children))

    def _direction(self, place: Place, kind: str, step: int) -> Direction | None:
        return direction_for(kind, place.parameter(), seed_of(self._key, step, place.tensor))

    def _try(
        self, bench: Bench, place: Place, kind: str, step: int, reach: float | None = None
    ) -> GradientTrial | None:
        direction = self._direction(place, kind, step)
        return bench.trial(place.tensor, place.name, direction, reach) if direction is not None else None

    def _others(self, watch: Watch, place: Place, step: int, passed: Passed) -> list[Place]:
        """Further tensors of the same module, to tell a factor on all gradients from one wrong gradient.

        Only those which the program multiplied with the same factor, as far as its calls say.
        """
        others = [
            other
            for other in watch.places
            if other.held_by is place.held_by
            and other is not place
            and other.held() is not None
            and id(other.parameter()) not in watch.outside
        ]
        order = keyed_order(self._key + b"others", step, len(others))
        clip = factor_of(passed, place.parameter())
        found: list[Place] = []
        for other in (others[at] for at in order):
            with contextlib.suppress(NotRepeatableError):
                if factor_of(passed, other.parameter()) == clip:
                    found.append(other)
            if len(found) == FURTHER_TENSORS:
                break
        return found

    @staticmethod
    def _suspicious(trial: GradientTrial, place: Place, rounding: float, factor: float) -> bool:
        share = SUSPICIOUS_IN_GROUP if _several_ranks() else SUSPICIOUS[trial.direction]
        return is_suspicious(trial, place.parameter().numel(), rounding, factor, share)

    @staticmethod
    def _learn(watch: Watch, trials: Sequence[GradientTrial], clip: float) -> None:
        """A factor on all gradients (a program that scales them itself) makes no later check suspicious."""
        ratios = [
            trial.inner / trial.slope for trial in trials if trial.slope and trial.direction == GRADIENT
        ]
        if len(ratios) > 1 and max(ratios) - min(ratios) < SUSPICIOUS[GRADIENT] * abs(ratios[0]):
            watch.factor = ratios[0] / clip


def _head(tracked: Tracked, watch: Watch) -> dict[str, object]:
    places = len(watch.places)
    return {"optimizer": tracked.index, "step": tracked.steps, "tensors": places, "clip": 1.0}


def _alive(modules: Sequence[weakref.ref[torch.nn.Module]]) -> list[torch.nn.Module]:
    return [module for module in (ref() for ref in modules) if module is not None]


def _can_move(parameter: torch.Tensor) -> bool:
    return bool(parameter.is_floating_point() and parameter.numel() and parameter.requires_grad)


def _several_ranks() -> bool:
    import torch

    distributed = torch.distributed
    return bool(
        distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1
    )
