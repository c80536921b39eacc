"""One record per optimizer step, read on both sides of it.

PyTorch's global step hooks call :meth:`Steps.before` and :meth:`Steps.after` around every optimizer's step.
They may nest (a subclass' ``step`` calling its parent's, both hooked) and may never close (a step that
raised): a step opens and closes once, with the outermost call.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Sequence
from time import perf_counter_ns
from typing import TYPE_CHECKING, cast

from ..core.sample import keyed_order
from . import declare, fingerprint, randomness, tensors
from .gradients import Trail
from .modules import Modules
from .phases import Phases
from .reader import Picked, Piece, Wanted
from .shards import count_of, local_of, local_parameters, sharded_kind
from .spread import SPREAD, entries
from .stepcall import (
    counts_for_a_scheduler,
    has_unreadable_gradient,
    is_compiled,
    loss_scale,
    on_stack,
    others_hook,
    unsharded,
)
from .sweep import NOTHING, Sweeper, Swept
from .tracked import FieldSets, Open, Picks, Tracked
from .truth.check import GradientTruth

if TYPE_CHECKING:
    import torch

    from .session import Session

MAX_MOVE_REPORTS = 20
MAX_LOADED = 200_000
MAX_DECLARATIONS = 64
MAX_NAMED = 64
FINGERS_EVERY = 4
AGAIN = 4
ALL_GENERATORS_EVERY = 8
MAX_LOSSES = 64


class Steps:
    """All optimizers of this process and their step records."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._key = session.config.key
        self._tracked: weakref.WeakKeyDictionary[torch.optim.Optimizer, Tracked] = weakref.WeakKeyDictionary()
        self._count = 0
        self._fingerprinter: fingerprint.Fingerprinter | None = None
        # Not declared yet. A dictionary, since sets have no order: numbered as they were constructed.
        self._constructed: weakref.WeakKeyDictionary[torch.optim.Optimizer, None] = (
            weakref.WeakKeyDictionary()
        )
        self._loaded: set[int] = set()
        self._last_stepper: dict[int, int] = {}
        self.phases = Phases()
        self.truth = GradientTruth(session, session.config.overhead)
        self.hooks_returned: Callable[[], bool] = bool
        self.loss: torch.Tensor | None = None
        self.losses = 0
        self._losses: list[torch.Tensor] = []
        self.clipped: tuple[float, torch.Tensor] | None = None

    # --- registering -----------------------------------------------------------------------------

    def constructed(self, optimizer: torch.optim.Optimizer) -> None:
        """An optimizer was constructed; it is declared at the first backward pass or step."""
        if optimizer not in self._tracked:
            self._constructed[optimizer] = None

    def register(self, optimizer: torch.optim.Optimizer) -> Tracked:
        """Track ``optimizer``; declare it when it is new or its parameters are no longer the same."""
        known = self._tracked.get(optimizer)
        # ids are safe to compare: what is tracked is also held, so no number is given to another tensor.
        groups = [local_parameters(group["params"]) for group in optimizer.param_groups]
        identity = tuple([tuple(map(id, group)) for group in groups])
        # A model may change its precision (``model.bfloat16()``) under the same parameters.
        if (
            known is not None
            and known.identity == identity
            and [parameter.dtype for parameter in known.parameters] == known.dtypes
        ):
            return known
        if known is not None and known.declarations >= MAX_DECLARATIONS:
            return self._declared_too_often(known)
        listed = [
            (number, parameter)
            for number, group in enumerate(optimizer.param_groups)
            for parameter in group["params"]
        ]
        index = known.index if known is not None else self._count
        self._count += known is None
        fresh = known is None
        local = [tensor for group in groups for tensor in group]
        on_loaded = any(id(parameter) in self._loaded for _, parameter in listed)
        plain = [tensors.is_plain(parameter) for parameter in local]
        readable = [place for place, one in enumerate(plain) if one]
        numpy = sys.modules.get("numpy")
        tracked = Tracked(
            index=index,
            parameters=[parameter for _, parameter in listed],
            local=local,
            groups=[number for number, _ in listed],
            numels=[parameter.numel() for parameter in local],
            plain=plain,
            identity=identity,
            trail=Trail(self._key, [one for _, one in listed], unsharded(listed, readable), numpy),
            dtypes=[parameter.dtype for _, parameter in listed],
            declarations=known.declarations + 1 if known is not None else 1,
            steps=known.steps if known is not None else 0,
            # A module may have been loaded before this optimizer was built on it.
            restore=fresh and on_loaded,
            loaded_module=fresh and on_loaded,
        )
        tracked.sweeper = Sweeper(self._key, tracked.local, readable, numpy)
        self._tracked[optimizer] = tracked
        self._constructed.pop(optimizer, None)
        modules = declare.modules_holding(tracked.parameters)
        tracked.held_by = [weakref.ref(module) for module in modules]
        tracked.modules = Modules(modules)
        body = declare.optimizer_body(index, optimizer, listed, modules)
        self._session.emit("optimizer", {"optimizer": body})
        hidden = tracked.plain.count(False)
        if hidden:
            self._session.gap(
                f"{hidden} of {len(listed)} parameters cannot be read element by element",
                "they are on no device, quantized, sparse or of a tensor subclass",
                law="update",
            )
        return tracked

    def _declared_too_often(self, tracked: Tracked) -> Tracked:
        """The program exchanges its parameters all the time: the last ones declared are read on."""
        if tracked.declarations == MAX_DECLARATIONS:
            tracked.declarations += 1
            self._session.gap(
                f"the parameters of optimizer {tracked.index} were exchanged {MAX_DECLARATIONS} times",
                "each exchange is a new declaration, and that many are not followed",
                law="update",
                stops=True,
            )
        return tracked

    def _register_constructed(self) -> None:
        if self._constructed:
            for optimizer in list(self._constructed):
                self.register(optimizer)

    def of(self, optimizer: object) -> Tracked | None:
        """What is remembered of an optimizer, None when it has not been declared."""
        return self._tracked.get(cast("torch.optim.Optimizer", optimizer))

    def known(self) -> list[tuple[torch.optim.Optimizer, Tracked]]:
        """The optimizers alive, with what is remembered of each."""
        return list(self._tracked.items())

    def restored(
        self, *, module: torch.nn.Module | None = None, optimizer: torch.optim.Optimizer | None = None
    ) -> None:
        """State was loaded into ``module`` or ``optimizer``: whom it concerns reports at its next step.

        A module concerns the optimizers that hold one of its parameters, now or when they are built.
        """
        self._register_constructed()
        if optimizer is not None:
            tracked = self.register(optimizer)
            tracked.restore = tracked.loaded_state = True
        if module is not None:
            loaded = {id(parameter) for parameter in module.parameters()}
            self._loaded = (self._loaded | loaded) if len(self._loaded) < MAX_LOADED else loaded
            for _, tracked in self.known():
                if any(id(parameter) in loaded for parameter in tracked.parameters):
                    tracked.restore = tracked.loaded_module = True

    def read_in_place(self) -> None:
        """Something was loaded into tensors themselves: any optimizer's may be among them."""
        for _, tracked in self.known():
            tracked.restore = tracked.loaded_module = tracked.loaded_state = True

    # --- around a step ---------------------------------------------------------------------------

    def before(
        self, optimizer: torch.optim.Optimizer, args: Sequence[object], kwargs: dict[str, object]
    ) -> None:
        """The pre-hook: reads what the step is about to use."""
        import torch

        tracked = self.register(optimizer)
        frame = sys._getframe(3)
        if tracked.pending is not None and on_stack(frame.f_back, tracked.open_frame):
            return
        tracked.open_frame = id(frame)
        with torch.no_grad():
            if tracked.restore:
                self._report_restored(optimizer, tracked)
            elif self._shared:
                self._compare_shared(tracked)
            tracked.pending = opened = self._open(optimizer, tracked, args, kwargs)
        opened.body["compiled"] = is_compiled(frame)
        if not opened.body["closure"]:
            self._session.shield.run("gradient truth", self._check_gradient, optimizer, tracked)
        opened.started = perf_counter_ns()

    def _check_gradient(self, optimizer: torch.optim.Optimizer, tracked: Tracked) -> None:
        self.phases.guard(self.truth.check(optimizer, tracked))

    def after(self, optimizer: torch.optim.Optimizer) -> None:
        """The post-hook: reads what the step left, and ships the record."""
        import torch

        ended = perf_counter_ns()
        tracked = self._tracked.get(optimizer)
        if tracked is None or tracked.pending is None or id(sys._getframe(3)) != tracked.open_frame:
            return
        opened, tracked.pending, tracked.open_frame = tracked.pending, None, 0
        self.phases.optimizer(opened.started, ended)
        with torch.no_grad():
            self._close(optimizer, tracked, opened)

    def _open(
        self,
        optimizer: torch.optim.Optimizer,
        tracked: Tracked,
        args: Sequence[object],
        kwargs: dict[str, object],
    ) -> Open:
        fresh = self._fresh_picks(tracked)
        picks = [(tensor, True, picked) for tensor, picked in tracked.picks if self._is_own(tracked, tensor)]
        picks += [(tensor, False, picked) for tensor, picked in fresh]
        # A sparse gradient cannot be read element by element: its tensor is left out, not called untouched.
        hidden = {tensor for tensor, _ in fresh if has_unreadable_gradient(tracked.parameters[tensor])}
        if hidden:
            self._gradients_hidden(tracked, hidden)
        sets = FieldSets()
        items: list[list[object]] = []
        pieces: list[list[Piece]] = []
        picks = [one for one in picks if one[1] or one[0] not in hidden]
        asked = [(tensor, picked, not repeated) for tensor, repeated, picked in picks]
        readings = self._read(optimizer, tracked, asked)
        for (tensor, repeated, picked), (names, found, count) in zip(picks, readings, strict=True):
            # Read again only to see what moved since the last step: such elements have no second side.
            items.append([tensor, int(repeated), picked.count, count, None, sets.index(names), 0])
            pieces.append(found)
            if "param" not in names:
                why = "its data is now of another size, or of a tensor subclass"
                self._lose_sight(tracked, f"parameter {tensor}", why)
            if "grad" in names:
                tracked.readable.add(tensor)
        body: dict[str, object] = {
            "optimizer": tracked.index,
            "step": tracked.steps,
            "groups": declare.groups_of(optimizer),
            "rng": randomness.digests(every=tracked.steps % ALL_GENERATORS_EVERY == 0),
            "fingerprint_before": self._fingerprints(
                tracked, [tensor for tensor in tracked.finger_tensors if self._is_own(tracked, tensor)]
            ),
            "loss": float(self.loss) if self.loss is not None else None,
            "losses": self.losses,
            "loss_sum": self._loss_sum(),
            "total_norm": float(self.clipped[1]) if self.clipped is not None else None,
            "max_norm": self.clipped[0] if self.clipped is not None else None,
            **loss_scale(optimizer),
            "closure": any(callable(value) for value in (*args[1:], *kwargs.values()))
            or others_hook(optimizer),
            "fields": sets.names,
        }
        if tracked.modules is not None:
            body["training"] = tracked.modules.mode(backwards=tracked.backwards > 0)
            body["buffers"] = tracked.modules.written()
        body["gradients"], trail = tracked.trail.taken(tracked.steps)
        return Open(fresh, picks, items, pieces, body, self._swept_before(tracked), trail, 0)

    def _swept_before(self, tracked: Tracked) -> Swept:
        """The places of the sweep after the last step as they are now, but for what others stepped on."""
        last = tracked.swept
        if last is None or tracked.sweeper is None:
            return NOTHING
        own = {tensor for tensor in last.tensors if self._is_own(tracked, tensor)} if self._shared else None
        return tracked.sweeper.again(last if own is None else last.of(own))

    def _gradients_hidden(self, tracked: Tracked, hidden: set[int]) -> None:
        """Gradients that can no longer be read, though they could: the law must not seem to see them."""
        lost = hidden & tracked.readable
        if lost:
            why = "they could at earlier steps; now they are sparse or of a tensor subclass"
            self._lose_sight(tracked, f"gradients of {len(lost)} tensors", why)

    def _lose_sight(self, tracked: Tracked, what: str, why: str) -> None:
        """Told once per optimizer: what was readable is so no more."""
        if not tracked.lost_sight:
            tracked.lost_sight = True
            self._session.gap(
                f"{what} can no longer be read element by element", why, law="update", stops=True
            )

    def _close(self, optimizer: torch.optim.Optimizer, tracked: Tracked, opened: Open) -> None:
        sets = FieldSets()
        sets.names = opened.body["fields"]  # type: ignore[assignment]
        pieces: list[Piece] = []
        asked = [(tensor, picked, False) for tensor, repeated, picked in opened.picks if not repeated]
        readings = iter(self._read(optimizer, tracked, asked))
        for item, before, (_, repeated, _) in zip(opened.items, opened.pieces, opened.picks, strict=True):
            pieces += before
            if repeated:
                item[6] = sets.index(())
                continue
            names, found, count = next(readings)
            item[4], item[6] = count, sets.index(names)
            pieces += found
        typecode, blob = tensors.join(pieces)
        tracked.finger_tensors = self._next_fingers(tracked) if tracked.steps % FINGERS_EVERY == 0 else []
        body = opened.body
        body["phases"] = self.phases.close()
        body["fingerprint_after"] = self._fingerprints(tracked, tracked.finger_tensors)
        body["layout"] = opened.items
        body["typecode"] = typecode
        swept = tracked.sweeper.fresh(tracked.steps) if tracked.sweeper is not None else NOTHING
        body["swept"] = [len(opened.swept.tensors), opened.swept.count, len(swept.tensors), swept.count]
        self._session.emit("step", body, blob + opened.swept.packed() + swept.packed() + opened.trail)
        self._session.steps += 1
        self._session.last_step = tracked.steps
        tracked.picks = opened.fresh[:AGAIN]
        tracked.steps += 1
        tracked.backwards = tracked.batches = 0
        tracked.swept, tracked.home = swept, None
        if self._shared:
            for parameter in tracked.parameters:
                self._last_stepper[id(parameter)] = tracked.index
        self.loss, self.losses, self.clipped = None, 0, None
        self._losses.clear()
        took = sum(opened.body["phases"].values()) - opened.body["phases"].get("guard", 0)  # type: ignore[attr-defined]
        self._session.shield.run("gradient truth", self.truth.arm, optimizer, tracked, took / 1e9)

    # --- reading ---------------------------------------------------------------------------------

    def _fresh_picks(self, tracked: Tracked) -> Picks:
        picked = tracked.reader.picks(self._key, tracked.steps, tracked.numels)
        return [(tensor, places) for tensor, places in picked if tracked.plain[tensor]]

    def _read(
        self, optimizer: torch.optim.Optimizer, tracked: Tracked, asked: Sequence[tuple[int, Picked, bool]]
    ) -> list[tuple[list[str], list[Piece], float | None]]:
        """For each tensor (with its gradient or without): the names of the fields that could be read, the
        sampled values of each, and the tensor's own step count.
        """
        wanted: list[Wanted] = []
        kind = sharded_kind()
        ends: list[tuple[int, float | None]] = []
        for tensor, picked, with_grad in asked:
            parameter, numel = tracked.parameters[tensor], tracked.numels[tensor]
            whole = tracked.local[tensor] is parameter
            wanted.append(((tensor, "param"), tracked.local[tensor], picked, numel))
            if with_grad:
                gradient = parameter.grad if whole else local_of(parameter.grad, kind, parameter)
                wanted.append(((tensor, "grad"), gradient, picked, numel))
            count: float | None = None
            for name, value in optimizer.state.get(parameter, {}).items():
                if name == "step":
                    count = float(value) if whole else count_of(value, kind)
                else:
                    held = value if whole else local_of(value, kind, parameter)
                    wanted.append(((tensor, name), held, picked, numel))
            ends.append((len(wanted), count))
        found = tracked.reader.read(wanted)
        readings: list[tuple[list[str], list[Piece], float | None]] = []
        begin = 0
        for end, count in ends:
            names: list[str] = []
            pieces: list[Piece] = []
            for position in range(begin, end):
                (tensor, name), value, picked, _ = wanted[position]
                piece = found[position]
                if piece is None and name in SPREAD:
                    for entry, data in entries(name, value, tracked.parameters[tensor], picked):
                        names.append(entry)
                        pieces.append(data)
                elif piece is not None:
                    names.append(name)
                    pieces.append(piece)
            readings.append((names, pieces, count))
            begin = end
        return readings

    def _fingerprints(self, tracked: Tracked, chosen: Sequence[int]) -> list[list[int]]:
        if not chosen:
            return []
        if self._fingerprinter is None:
            self._fingerprinter = fingerprint.Fingerprinter(self._key)
        values = self._fingerprinter.take([tracked.local[tensor] for tensor in chosen])
        return [[tensor, value] for tensor, value in zip(chosen, values, strict=True)]

    def _next_fingers(self, tracked: Tracked) -> list[int]:
        order = [tensor for tensor in keyed_order(self._key, 0, len(tracked.numels)) if tracked.plain[tensor]]
        if not order:
            return []
        chosen, tracked.finger_at = fingerprint.choose(order, tracked.numels, tracked.finger_at)
        return chosen

    def _report_restored(self, optimizer: torch.optim.Optimizer, tracked: Tracked) -> None:
        names = declare.parameter_names(tracked.parameters)
        parameters, _ = tensors.describe(
            (names.get(id(parameter), f"param.{position}"), parameter)
            for position, parameter in enumerate(tracked.parameters)
        )
        state, _ = tensors.describe(
            (f"{position}.{name}", value)
            for position, parameter in enumerate(tracked.parameters)
            for name, value in tensors.walk(optimizer.state.get(parameter, {}))
        )
        body = {
            "optimizer": tracked.index,
            "step": tracked.steps,
            "loaded_module": tracked.loaded_module,
            "loaded_optimizer": tracked.loaded_state,
            "tensors": parameters,
            "state": state,
        }
        self._session.emit("restored", body)
        tracked.loaded_module = tracked.loaded_state = tracked.restore = False
        self.truth.renew(optimizer)
        self._loaded -= {id(parameter) for parameter in tracked.parameters}

    # --- the loss --------------------------------------------------------------------------------

    def saw_loss(self, loss: torch.Tensor | None) -> None:
        """A backward pass ran from ``loss``; None when it began at no single number."""
        self.losses += 1
        if loss is not None:
            # A copy: programs go on adding to a tensor that shares its memory.
            self.loss = loss.detach().clone()
            if len(self._losses) < MAX_LOSSES:
                self._losses.append(self.loss)

    def _loss_sum(self) -> float | None:
        """Of several backward passes since the last step, the sum of all their losses."""
        if self.losses < 2 or len(self._losses) != self.losses:
            return None
        return sum(float(loss) for loss in self._losses)

    # --- between steps ---------------------------------------------------------------------------

    def backward_begins(self) -> None:
        """Called before each outermost backward pass."""
        self._session.shield.run("gradient truth", self.truth.backward_begins)
        for _, tracked in self.known():
            if tracked.modules is not None:
                tracked.modules.backward()
            if tracked.pending is None:
                tracked.trail.begin(tracked.steps)

    def backward_failed(self) -> None:
        """Called when a backward pass raised."""
        for _, tracked in self.known():
            tracked.trail.failed()

    def backward_left(self) -> None:
        """Called after each outermost backward pass, when all optimizers are known: reads what it left."""
        for _, tracked in self.known():
            if tracked.pending is None:
                tracked.trail.end(tracked.steps)
            else:
                tracked.trail.inside()

    def backward_ran(self) -> None:
        """Called after each backward pass: weights must not have moved since the last step.

        In an ordinary loop each backward is followed by a step, whose pre-hook compares; here it is looked
        at only when no step came in between, which is also how a ``step`` that fires no hook is seen.
        """
        self._register_constructed()
        if self.hooks_returned():
            self._forget()
        for optimizer, tracked in self.known():
            tracked.backwards += 1
            self._look(optimizer, tracked, again=tracked.backwards > 1)

    def batch_came(self) -> None:
        """Called for each batch: weights must not move from batch to batch without a step either.

        Programs that compute gradients by other ways than ``backward`` are seen only here.
        """
        if self.hooks_returned():
            self._forget()
        for optimizer, tracked in self.known():
            tracked.batches += 1
            self._look(optimizer, tracked, again=tracked.batches > 1)

    def _forget(self) -> None:
        """Steps may have been made unseen: what moved meanwhile is nobody's to explain."""
        for _, tracked in self.known():
            tracked.swept, tracked.picks, tracked.finger_tensors = None, [], []
            tracked.pending, tracked.open_frame = None, 0

    def _look(self, optimizer: torch.optim.Optimizer, tracked: Tracked, *, again: bool) -> None:
        # Inside an open step, in a closure, the optimizer moves its own weights.
        if tracked.pending is None and (again or tracked.swept is None) and not self._within_a_step():
            self._compare(optimizer, tracked)

    def _within_a_step(self) -> bool:
        """Whether some optimizer's step is running now: it may move weights that others hold as well.

        A step that raised stays open, so what counts is whether its frame is still on the stack.
        """
        return self._shared and any(
            other.pending is not None and on_stack(sys._getframe(1), other.open_frame)
            for _, other in self.known()
        )

    def _compare(self, optimizer: torch.optim.Optimizer, tracked: Tracked) -> None:
        import torch

        if tracked.sweeper is None:
            return
        if tracked.restore:
            tracked.swept = None
            return
        with torch.no_grad():
            if tracked.swept is None:
                tracked.swept = tracked.sweeper.fresh(tracked.steps)
                return
            now = self._swept_before(tracked)
        before = tracked.swept.of(set(now.tensors))
        changed = before.changed(now)
        if not changed:
            return
        if tracked.home is None:
            tracked.home = tracked.swept
        tracked.swept = now
        if now == tracked.home:  # an average of the weights, say, was put in and out again
            tracked.moves -= 1
            self._report_moved(optimizer, tracked, changed, len(now.tensors) * now.count, back=True)
            return
        tracked.moves += 1
        # One move before any step may be an initialisation after a trial pass; a second one is not.
        if tracked.moves > MAX_MOVE_REPORTS or (tracked.steps == 0 and tracked.moves < 2):
            return
        self._report_moved(optimizer, tracked, changed, len(now.tensors) * now.count)

    def _compare_shared(self, tracked: Tracked) -> None:
        """Parameters that another optimizer stepped on last must be as that one left them."""
        mine = set(map(id, tracked.parameters))
        for optimizer, other in self.known():
            if other is tracked or other.swept is None or other.sweeper is None or other.restore:
                continue
            if other.pending is not None:
                continue  # a wrapper that moves weights and calls this step within its own
            theirs = {
                tensor
                for tensor in other.swept.tensors
                if id(other.parameters[tensor]) in mine and self._is_own(other, tensor)
            }
            before = other.swept.of(theirs)
            changed = before.changed(other.sweeper.again(before))
            if changed and other.moves <= MAX_MOVE_REPORTS:
                other.moves += 1
                self._report_moved(optimizer, other, changed, len(theirs) * before.count, at_step=True)

    def _report_moved(
        self,
        optimizer: torch.optim.Optimizer,
        tracked: Tracked,
        changed: list[int],
        compared: int,
        *,
        at_step: bool = False,
        back: bool = False,
    ) -> None:
        replaced = vars(optimizer).get("step")
        if counts_for_a_scheduler(replaced):
            replaced = None
        path, line = declare.place_of(replaced) if replaced is not None else ("", 0)
        name = getattr(replaced, "__qualname__", type(replaced).__name__) if replaced is not None else ""
        body = {
            "optimizer": tracked.index,
            "after_step": tracked.steps - 1,
            "tensors": changed[:MAX_NAMED],
            "compared": compared,
            "at_step": at_step,
            "back": back,
            "step_replaced": name,
            "path": path,
            "line": line,
        }
        self._session.emit("moved", body)

    @property
    def _shared(self) -> bool:
        """Whether there are several optimizers, which may hold the same parameters."""
        return self._count > 1

    def _is_own(self, tracked: Tracked, tensor: int) -> bool:
        """Whether this optimizer was the last to step on that parameter (two may share it)."""
        return self._last_stepper.get(id(tracked.parameters[tensor]), tracked.index) == tracked.index
