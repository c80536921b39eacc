"""One record per optimizer step, read on both sides of it.

PyTorch's global step hooks call :meth:`Steps.before` and :meth:`Steps.after` around every optimizer's step.
They may nest (a subclass' ``step`` calling its parent's, both hooked) and may never close (a step that
raised): a step opens and closes once, with the outermost call.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from time import perf_counter_ns
from typing import TYPE_CHECKING

from ..core.quantity import quantity
from ..core.sample import TENSORS_PER_STEP, keyed_order
from . import declare, elements, fingerprint, held, randomness, tensors
from .attention import Attention
from .later import Later
from .losses import Losses
from .phases import Phases
from .reader import Piece
from .resting import Rest
from .restored import restored_body
from .roots import Roots
from .roster import Roster
from .stepcall import (
    counts_for_a_scheduler,
    has_unreadable_gradient,
    is_compiled,
    loss_scale,
    on_stack,
)

if TYPE_CHECKING:
    import torch

    from .held import Held
    from .hooks import Around, StepHooks
    from .session import Session
    from .tracked import Open, Picks, Tracked, Waiting

MAX_MOVE_REPORTS = 20
MAX_NAMED = 64
FINGERS_EVERY = 4
AGAIN = 4
GLANCED = 2
GLANCED_AGAIN = 1
ALL_GENERATORS_EVERY = 8
UNREADABLE = "its data is now of another size, or of a tensor subclass"


class Steps(Later):
    """All optimizers of this process and their step records."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._key = session.config.key
        self.roster = Roster(session, self._interrupt)
        self._fingerprinter: fingerprint.Fingerprinter | None = None
        self.phases = Phases()
        self.rest = Rest(session)
        config = session.config
        self.attention = Attention(self._key, config.overhead, self.rest.looks, config.attention)
        self.hooks: StepHooks | None = None
        self.losses = Losses()
        self.roots = Roots(session)
        self.clipped: tuple[float, torch.Tensor] | None = None
        self.setting = randomness.Setting()

    # --- around a step ---------------------------------------------------------------------------

    def before(
        self, optimizer: torch.optim.Optimizer, args: Sequence[object], kwargs: dict[str, object]
    ) -> None:
        """The pre-hook: reads what the step is about to use."""
        import torch

        frame = sys._getframe(3)
        tracked = self.roster.register(optimizer)
        self.roster.settle(optimizer, tracked)
        opened = tracked.pending
        if (opened is not None or tracked.waiting is not None) and on_stack(frame.f_back, tracked.open_frame):
            if opened is not None and opened.after is not None and not opened.ended:
                opened.body["closure"] = True  # the program's hooks run within this step as well
            return
        with torch.no_grad():
            if opened is not None and opened.ended:
                self._ship(optimizer, tracked, opened)  # a hook after the step raised
            tracked.open_frame, tracked.pending, tracked.waiting = id(frame), None, None
            if tracked.restore:
                self._report_restored(optimizer, tracked)
            else:
                self._compare_shared(optimizer, tracked)
            compiled = is_compiled(frame)
            around = self.hooks.around(optimizer, frame) if self.hooks is not None else None
            if around is not None and around.near and not compiled:
                tracked.waiting = self._wait(optimizer, tracked, around)
                return
            opened = self._open(optimizer, tracked, args, kwargs)
        opened.body["compiled"] = compiled
        # Hooks of the program run between the two readings: they may change what is read.
        opened.body["closure"] = opened.body["closure"] or around is not None
        self._begin(optimizer, tracked, opened, truth=True)

    def entered(
        self, optimizer: torch.optim.Optimizer, args: Sequence[object], kwargs: dict[str, object]
    ) -> None:
        """The last hook before a step, of an optimizer for which the program has hooks."""
        import torch

        tracked = self.roster.of(optimizer)
        if tracked is None or tracked.waiting is None or id(sys._getframe(3)) != tracked.open_frame:
            return
        waiting, tracked.waiting = tracked.waiting, None
        with torch.no_grad():
            opened = self._open(optimizer, tracked, args, kwargs, waiting)
            opened.hooked = self._hooked(optimizer, tracked, waiting.held, before=True)
            self._session.shield.run("hook", self._step_hooks.ran, tracked, waiting.held.hooks)
        opened.after = waiting.after
        self._begin(optimizer, tracked, opened, truth=not waiting.held.hooks)

    def _begin(
        self, optimizer: torch.optim.Optimizer, tracked: Tracked, opened: Open, *, truth: bool
    ) -> None:
        """All is read; ``truth``: whether the gradients are as the backward pass left them."""
        self._ship_scheduled(tracked)  # of a step whose last hook raised
        tracked.pending = opened
        if truth and not opened.body["closure"]:
            self._session.shield.run("gradient truth", self._check_gradient, optimizer, tracked)
        opened.started = perf_counter_ns()

    def _check_gradient(self, optimizer: torch.optim.Optimizer, tracked: Tracked) -> None:
        self.phases.guard(self.truth.check(optimizer, tracked))
        self.setting.taken()  # what was set by running the program's modules again is not the program's

    def left(self, optimizer: torch.optim.Optimizer) -> None:
        """The first hook after a step, of an optimizer for which the program has hooks."""
        import torch

        ended = perf_counter_ns()
        tracked = self.roster.of(optimizer)
        if tracked is None or tracked.pending is None or id(sys._getframe(3)) != tracked.open_frame:
            return
        opened = tracked.pending
        with torch.no_grad():
            self._close(optimizer, tracked, opened, ended)
            if opened.after and tracked.sweeper is not None:
                swept, others = (
                    tracked.sweeper.fresh(tracked.steps),
                    self._sharing.others(tracked, self.roster.known()),
                )
                picks = opened.fresh[:AGAIN]
                opened.held = held.hold(optimizer, tracked, opened.after, swept, picks, others)

    def after(self, optimizer: torch.optim.Optimizer) -> None:
        """The post-hook: reads what the step left, and ships the record."""
        ended = perf_counter_ns()
        tracked = self.roster.of(optimizer)
        if tracked is not None and self.rest.on and self.rest.is_in(sys._getframe(3)):
            self._passed(optimizer, tracked)
            return
        import torch

        if tracked is None or id(sys._getframe(3)) != tracked.open_frame:
            return
        opened = tracked.pending
        if opened is None:
            if tracked.waiting is not None:  # our hooks on it were taken out: the step was not seen
                self._forget()
            return
        with torch.no_grad():
            if not opened.ended:
                opened.body["closure"] = opened.body["closure"] or bool(opened.after)
                self._close(optimizer, tracked, opened, ended)
            self._ship(optimizer, tracked, opened)

    def _wait(self, optimizer: torch.optim.Optimizer, tracked: Tracked, around: Around) -> Waiting:
        """Hold what weights and state are before the program's hooks run."""
        from .tracked import Waiting

        swept = first = self._sharing.swept(tracked)
        if not swept.tensors and tracked.sweeper is not None and around.before:
            first = tracked.sweeper.fresh(tracked.steps)
        if around.before:
            tracked.trail.hooks_begin(tracked.steps)
        picks = self._sharing.picks(tracked)
        others = self._sharing.others(tracked, self.roster.known()) if around.before else []
        holding = held.hold(optimizer, tracked, around.before, first, picks, others)
        fingers, written = self._fingers_again(tracked), self._sharing.written(tracked)
        return Waiting(holding, around.after, swept, fingers, written)

    def _hooked(
        self, optimizer: torch.optim.Optimizer, tracked: Tracked, holding: Held, *, before: bool
    ) -> list[dict[str, object]]:
        """Reports of what hooks of the program changed since ``holding``."""
        since = held.since(tracked.hooks_since[before], holding.hooks, tracked.steps)
        if not holding.hooks:
            return []
        about = {"stepping": tracked.index, "step": tracked.steps, "before": before, "since": since}
        found = list(held.moved(holding, optimizer, tracked))
        return [{**body, **about, **held.named(holding.hooks)} for body in found]

    def _open(
        self,
        optimizer: torch.optim.Optimizer,
        tracked: Tracked,
        args: Sequence[object],
        kwargs: dict[str, object],
        waiting: Waiting | None = None,
    ) -> Open:
        from .tracked import FieldSets, Open

        began = perf_counter_ns()
        fresh = self._fresh_picks(tracked)
        again = waiting.held.picks if waiting is not None else self._sharing.picks(tracked)
        readings = list(waiting.held.readings) if waiting is not None else []
        picks = [(tensor, True, picked) for tensor, picked in again]
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
        readings += elements.read(optimizer, tracked, asked[len(readings) :])
        for (tensor, repeated, picked), (names, found, count) in zip(picks, readings, strict=True):
            # Read again only to see what moved since the last step: such elements have no second side.
            items.append([tensor, int(repeated), picked.count, count, None, sets.index(names), 0])
            pieces.append(found)
            if "param" not in names:
                self._lose_sight(tracked, f"parameter {tensor}", UNREADABLE)
            if "grad" in names:
                tracked.readable.add(tensor)
        body: dict[str, object] = {
            "optimizer": tracked.index,
            "step": tracked.steps,
            "groups": declare.groups_of(optimizer),
            "rng": randomness.digests(every=tracked.steps % ALL_GENERATORS_EVERY == 0),
            "set_to": self.setting.taken(),
            "fingerprint_before": self._fingers_again(tracked) if waiting is None else waiting.fingers,
            **self.losses.told(),
            "roots": self.roots.told(),
            "total_norm": float(self.clipped[1]) if self.clipped is not None else None,
            "max_norm": self.clipped[0] if self.clipped is not None else None,
            **loss_scale(optimizer),
            "closure": any(callable(value) for value in (*args[1:], *kwargs.values())),
            "compiled": False,
            "close": tracked.close,
            "written": self._sharing.written(tracked) if waiting is None else waiting.written,
            "shared": self._sharing.takes(tracked, self.roster.known()),
            "fields": sets.names,
        }
        if tracked.modules is not None:
            body |= tracked.modules.told(self.roster.optimized, backwards=tracked.backwards > 0)
            tracked.looked += tracked.modules.took()
        body["gradients"], trail = tracked.trail.taken(tracked.steps)
        tracked.looked += perf_counter_ns() - began
        swept = self._sharing.swept(tracked) if waiting is None else waiting.swept
        return Open(fresh, picks, items, pieces, body, swept, trail)

    def _fingers_again(self, tracked: Tracked) -> list[list[int]]:
        return self._fingerprints(tracked, self._sharing.fingers(tracked))

    def _gradients_hidden(self, tracked: Tracked, hidden: set[int]) -> None:
        """Gradients that can no longer be read, though they could: the law must not seem to see them."""
        lost = hidden & tracked.readable
        if lost:
            why = "they could at earlier steps; now they are sparse or of a tensor subclass"
            self._lose_sight(tracked, f"gradients of {quantity(len(lost), 'tensor')}", why)

    def _lose_sight(self, tracked: Tracked, what: str, why: str) -> None:
        """Told once per optimizer: what was readable is so no more."""
        if not tracked.lost_sight:
            tracked.lost_sight = True
            self._session.gap(
                f"{what} can no longer be read element by element", why, law="update", stops=True
            )

    def _close(self, optimizer: torch.optim.Optimizer, tracked: Tracked, opened: Open, ended: int) -> None:
        """Read what the step left."""
        from .tracked import FieldSets

        opened.ended = ended
        self.phases.optimizer(opened.started, ended)
        sets = FieldSets()
        sets.names = opened.body["fields"]  # type: ignore[assignment]
        pieces: list[Piece] = []
        asked = [(tensor, picked, False) for tensor, repeated, picked in opened.picks if not repeated]
        began = perf_counter_ns()
        readings = iter(elements.read(optimizer, tracked, asked))
        tracked.looked += perf_counter_ns() - began
        for item, before, (_, repeated, _) in zip(opened.items, opened.pieces, opened.picks, strict=True):
            pieces += before
            if repeated:
                item[6] = sets.index(())
                continue
            names, found, count = next(readings)
            item[4], item[6] = count, sets.index(names)
            pieces += found
        opened.left = pieces

    def _ship(self, optimizer: torch.optim.Optimizer, tracked: Tracked, opened: Open) -> None:
        """Send the record, with the sweep that the next step's begins from."""
        from .sweep import NOTHING

        tracked.pending, tracked.open_frame = None, 0
        if opened.held is not None:
            opened.hooked += self._hooked(optimizer, tracked, opened.held, before=False)
        typecode, blob = tensors.join(opened.left)
        tracked.finger_tensors = self._next_fingers(tracked) if tracked.steps % FINGERS_EVERY == 0 else []
        body = opened.body
        body["phases"] = self.phases.close()
        body["fingerprint_after"] = self._fingerprints(tracked, tracked.finger_tensors)
        body["layout"], body["typecode"] = opened.items, typecode
        swept = tracked.sweeper.fresh(tracked.steps) if tracked.sweeper is not None else NOTHING
        body["swept"] = [len(opened.swept.tensors), opened.swept.count, len(swept.tensors), swept.count]
        body["uses"], body["unused"] = self.contents.taken()
        self._session.emit("step", body, blob + opened.swept.packed() + swept.packed() + opened.trail)
        for report in opened.hooked:
            self._session.emit("hooked", report)
        self._ship_scheduled(tracked)
        phases: dict[str, int] = opened.body["phases"]  # type: ignore[assignment]
        checking = phases.get("guard", 0)
        took = (sum(phases.values()) - checking) / 1e9
        self.rest.looked(tracked, took, checking)
        self._session.stepped(tracked.steps)
        # What hooks of the program changed since was never what the step left.
        tracked.picks = [] if opened.hooked else opened.fresh[: AGAIN if tracked.close else GLANCED_AGAIN]
        tracked.steps += 1
        tracked.backwards = tracked.batches = 0
        tracked.swept, tracked.home = swept, None
        self._sharing.stepped(tracked)
        if tracked.sweeper is not None:
            tracked.sweeper.count(tracked.steps, swept.tensors)
        self.losses.clear()
        self.roots.clear()
        self.clipped = None
        if self.attention.stepped(tracked, took, {"loss": body["loss"], "norm": body["total_norm"]}):
            self.truth.renew(optimizer, alarm=True)
        if not self.rest.begin(tracked, opened, alone=self.roster.has_one()):
            self._session.shield.run("gradient truth", self.truth.arm, optimizer, tracked, took)

    # --- steps that pass unseen ------------------------------------------------------------------

    def passes(
        self, optimizer: torch.optim.Optimizer, args: Sequence[object], kwargs: dict[str, object]
    ) -> bool:
        """The pre-hook while the guard rests: whether the step is left alone; another optimizer's ends it."""
        tracked = self.roster.of(optimizer)
        if tracked is None:
            self._interrupt()
            return False
        frame = sys._getframe(3)
        around = self.hooks.around(optimizer, frame) if self.hooks is not None else None
        ordinary = around is None and not tracked.restore
        if len(args) > 1 or kwargs:
            ordinary = ordinary and not any(map(callable, (*args[1:], *kwargs.values())))
        self.rest.before(frame, ordinary=ordinary)
        return True

    def _interrupt(self) -> None:
        """The rest ends: amidst a step, of which a part may have passed."""
        if self.rest.on:
            self.rest.end()
            for optimizer, tracked in self.roster.known():
                self._resume(optimizer, tracked)
                tracked.trail.failed()

    def _passed(self, optimizer: torch.optim.Optimizer, tracked: Tracked) -> None:
        """A step was left alone: is the next one to be looked at?"""
        if self.rest.after(tracked, self.phases.passed()):
            self.rest.end()
            self._resume(optimizer, tracked)

    def passed_backward(self) -> bool:
        """A backward pass begins while the guard rests: whether it goes on resting.

        Steps that are not seen at all, since a program has taken out our hooks, would let it rest for ever.
        """
        if self.rest.backward() and self.hooks is not None and self.hooks.returned():
            self._interrupt()
            self._forget()
            return False
        return True

    def _resume(self, optimizer: torch.optim.Optimizer, tracked: Tracked) -> None:
        """The coming step is looked at again. What the guard remembers is of before the rest."""
        import torch

        self._begin_anew()
        tracked.home, tracked.backwards, tracked.batches = None, 0, 0
        self.attention.passed(self.rest.seconds)
        self.attention.next(tracked)
        with torch.no_grad():
            tracked.trail.resumed(tracked.steps - 1)
        if tracked.modules is not None:
            tracked.modules.resumed()
        self.contents.resumed()
        self._session.shield.run("gradient truth", self.truth.arm, optimizer, tracked, self.rest.seconds)

    # --- reading ---------------------------------------------------------------------------------

    def _ship_scheduled(self, tracked: Tracked) -> None:
        """What a hook of the program did to the schedule after a step comes after the step's record."""
        scheduled, tracked.scheduled = tracked.scheduled, []
        for body in scheduled:
            self._session.emit("scheduled", body)

    def _fresh_picks(self, tracked: Tracked) -> Picks:
        most = TENSORS_PER_STEP if tracked.close else GLANCED
        picked = tracked.reader.picks(self._key, tracked.steps, tracked.numels, most)
        return [(tensor, places) for tensor, places in picked if tracked.plain[tensor]]

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
        self._session.emit("restored", restored_body(optimizer, tracked))
        self.truth.renew(optimizer)
        self.attention.renew()
        self.roster.taken_in(tracked)

    # --- between steps ---------------------------------------------------------------------------

    def backward_begins(self, of: object, *, partly: bool) -> None:
        """Called before each outermost backward pass, of a tensor or of several.

        ``partly``: it was told which tensors' gradients it is to bring.
        """
        self._session.shield.run("gradient truth", self.truth.backward_begins, of, partly=partly)
        for _, tracked in self.roster.known():
            if tracked.modules is not None:
                self._session.shield.run("modules", tracked.modules.backward, of, close=tracked.close)
            if tracked.pending is None:
                tracked.trail.begin(tracked.steps)

    def backward_failed(self) -> None:
        """Called when a backward pass raised."""
        self.truth.backward_ended()
        self._session.shield.run("loss truth", self.truth.losses.backward_failed)
        for _, tracked in self.roster.known():
            tracked.trail.failed()

    def backward_left(self) -> None:
        """Called after each outermost backward pass, when all optimizers are known: reads what it left."""
        self.truth.backward_ended()
        for _, tracked in self.roster.known():
            if tracked.pending is None:
                began = perf_counter_ns()
                tracked.trail.end(tracked.steps)
                tracked.looked += perf_counter_ns() - began
            else:
                tracked.trail.inside()
        self._session.shield.run("loss truth", self._check_loss)

    def _check_loss(self) -> None:
        with self.setting.aside():
            self.phases.guard(self.truth.losses.backward_ended())

    def backward_ran(self) -> None:
        """Called after each backward pass: weights must not have moved since the last step.

        In an ordinary loop each backward is followed by a step, whose pre-hook compares; here it is looked
        at only when no step came in between, which is also how a ``step`` that fires no hook is seen.
        """
        self.roster.register_constructed()
        if self.hooks is not None and self.hooks.returned():
            self._forget()
        for optimizer, tracked in self.roster.known():
            tracked.backwards += 1
            # Where several passes make a step, the first one too might run on weights that are put back.
            tracked.several = tracked.several or tracked.backwards > 1
            self._look(optimizer, tracked, again=tracked.several)

    def batch_came(self) -> None:
        """Called for each batch: weights must not move from batch to batch without a step either.

        Programs that compute gradients by other ways than ``backward`` are seen only here.
        """
        if self.hooks is not None and self.hooks.returned():
            self._forget()
        for optimizer, tracked in self.roster.known():
            tracked.batches += 1
            self._look(optimizer, tracked, again=tracked.batches > 1)

    def _forget(self) -> None:
        """Steps may have been made unseen: what moved meanwhile is nobody's to explain.

        A number is left out, so that nobody takes the next record for that of the step after the last one.
        """
        for _, tracked in self.roster.known():
            tracked.steps += 1
        self._begin_anew()

    def _begin_anew(self) -> None:
        """Nothing that was read before is compared with what is read from now on."""
        for _, tracked in self.roster.known():
            tracked.swept, tracked.picks, tracked.finger_tensors = None, [], []
            tracked.pending, tracked.waiting, tracked.open_frame = None, None, 0
            if tracked.sweeper is not None:
                tracked.sweeper.forget()

    def _look(self, optimizer: torch.optim.Optimizer, tracked: Tracked, *, again: bool) -> None:
        # Inside an open step, in a closure, the optimizer moves its own weights.
        due = again or tracked.swept is None
        if due and tracked.pending is None and tracked.waiting is None and not self._within_a_step():
            self._compare(optimizer, tracked)

    def _within_a_step(self) -> bool:
        """Whether some optimizer's step is running now: it may move weights that others hold as well.

        A step that raised stays open, so what counts is whether its frame is still on the stack.
        """
        return self._sharing.several and any(
            other.pending is not None and on_stack(sys._getframe(1), other.open_frame)
            for _, other in self.roster.known()
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
            now = self._sharing.swept(tracked)
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

    def _compare_shared(self, optimizer: torch.optim.Optimizer, tracked: Tracked) -> None:
        """Parameters that another optimizer stepped on last must be as that one left them."""
        for other, changed, compared, back in self._sharing.changed(tracked, self.roster.known()):
            other.moves += -1 if back else 1
            if other.moves <= MAX_MOVE_REPORTS:
                self._report_moved(optimizer, other, changed, compared, at_step=not back, back=back)

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
