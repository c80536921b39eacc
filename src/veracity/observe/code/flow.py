"""What only a whole file shows of a training step: calls that a condition leaves out, or makes twice."""

from __future__ import annotations

from collections import Counter, defaultdict

from . import vocabulary as words
from .record import KeyCall, Recorder
from .scopes import Scope

MAX_CALLS = 1000
_LEFT_OUT = frozenset(
    (
        "zero_grad",
        "step",
        "backward",
        "clip_grad_norm_",
        "clip_grad_value_",
        "unscale_",
        "all_reduce",
        "set_epoch",
        "manual_backward",
        "load_state_dict",
        "no_sync",
    )
)
_COUNTED = frozenset(
    (
        "zero_grad",
        "step",
        "backward",
        "clip_grad_norm_",
        "clip_grad_value_",
        "unscale_",
        "all_reduce",
        "set_epoch",
        "manual_backward",
        "load_state_dict",
        "train",
    )
)


def left_out(recorder: Recorder) -> None:
    """Calls of a step that are made under a trigger under which the optimizer's step is not."""
    by_scope: dict[int, list[KeyCall]] = defaultdict(list)
    for one in recorder.key_calls:
        by_scope[id(one.scope)].append(one)
    for calls in by_scope.values():
        if len(calls) > MAX_CALLS:
            recorder.overflow = True
            continue
        steps = [one for one in calls if one.name == "step" and one.kinds & words.OPTIMIZER]
        for one in calls:
            if one.name in _LEFT_OUT and (
                one.name not in ("step", "load_state_dict") or one.kinds & (words.OPTIMIZER | words.SCHEDULER)
            ):
                _judge(recorder, one, calls, steps)


def _judge(recorder: Recorder, one: KeyCall, calls: list[KeyCall], steps: list[KeyCall]) -> None:
    around = [branch for branch in one.guards if branch.bits & words.TRIGGER_BITS]
    if not around:
        return
    same = [other for other in calls if other.name == one.name and other is not one and _same(other, one)]
    if any(_is_other_side(other, one) for other in same):
        return  # made on both sides of the condition
    freely = [other for other in same if _nodes(other) < _nodes(one)]
    is_step = one in steps
    with_step = {id(branch.node) for other in steps for branch in other.guards} if not is_step else set()
    own = [branch for branch in around if id(branch.node) not in with_step]
    if not own:
        return
    bits = 0
    for branch in own:
        bits |= branch.bits
    held, outer = recorder.names.scope, recorder.guards
    recorder.names.scope, recorder.guards, recorder.loops = one.scope, list(one.guards), list(one.loops)
    cleared = [
        other
        for other in calls
        if other.name == "zero_grad"
        and other.on == one.on
        and [id(loop) for loop in other.loops] == [id(loop) for loop in one.loops]
    ]
    freely_cleared = any(_nodes(other) < _nodes(one) for other in cleared) if is_step else False
    kind = "scheduler" if one.kinds & words.SCHEDULER else "optimizer" if one.name == "step" else ""
    recorder.emit(
        "control",
        "doubled" if freely or any(branch.kind == "loop" for branch in own) else "left out",
        f"{kind} {one.name}".strip() + ("; gradients are cleared" if freely_cleared else ""),
        one.node,
        name=one.on,
        bits=bits,
        amount=own[0].node,
    )
    recorder.names.scope, recorder.guards, recorder.loops = held, outer, []


def _same(one: KeyCall, other: KeyCall) -> bool:
    return one.on == other.on and bool(one.kinds & words.SCHEDULER) == bool(other.kinds & words.SCHEDULER)


def _nodes(one: KeyCall) -> set[int]:
    return {id(branch.node) for branch in one.guards if branch.bits & words.TRIGGER_BITS}


def _is_other_side(one: KeyCall, other: KeyCall) -> bool:
    sides = {id(branch.node): branch.kind for branch in one.guards}
    return any(
        sides.get(id(branch.node), branch.kind) != branch.kind
        for branch in other.guards
        if branch.bits & words.TRIGGER_BITS
    )


def passed_over(recorder: Recorder) -> None:
    """``continue`` before the backward pass of a training loop: the batch is not trained on."""
    backward = [one for one in recorder.key_calls if one.name in ("backward", "manual_backward")]
    for fact in recorder.pending:
        if fact.what == "left" and fact.how == "continue" and fact.loops:
            inner = [one for one in backward if one.loops and one.loops[-1] is fact.loops[-1]]
            if inner and all(
                getattr(one.node, "lineno", 0) > getattr(fact.node, "lineno", 0) for one in inner
            ):
                fact.how = "batch passed over"


def not_restored(recorder: Recorder) -> None:
    """A file that restores the model and the schedule from what it saved, and not the optimizer it
    saved, too."""
    restored = [one for one in recorder.key_calls if one.name == "load_state_dict"]
    schedule = next((one for one in restored if one.kinds & words.SCHEDULER), None)
    if schedule is None or any(one.kinds & words.OPTIMIZER for one in restored):
        return
    beside = [one for one in restored if one.scope is schedule.scope]
    if not any(one.kinds & words.MODEL for one in beside) or not recorder.saves_optimizer:
        return
    held = recorder.names.scope
    recorder.names.scope = schedule.scope
    recorder.emit("control", "not restored", "optimizer", schedule.node, name=schedule.on)
    recorder.names.scope = held


def key_calls(recorder: Recorder) -> Counter[str]:
    """How often each call of a training step stands in each function: ``<function>: <call>``."""
    counted: Counter[str] = Counter()
    for one in recorder.key_calls:
        name = one.name
        if name not in _COUNTED:
            continue
        for bit, kind in (
            (words.SCHEDULER, "schedule"),
            (words.OPTIMIZER, "optimizer"),
            (words.MODEL, "model"),
        ):
            if one.kinds & bit:
                name = f"{kind}.{one.name}"
                break
        if one.name in ("step", "load_state_dict", "train") and name == one.name:
            continue
        counted[f"{path_of(one.scope)}: {name}"] += 1
    return counted


def path_of(scope: Scope | None) -> str:
    """The dotted name of a scope in its file."""
    names = []
    while scope is not None and scope.kind != "module":
        names.append(scope.name or "<lambda>")
        scope = scope.parent
    return ".".join(reversed(names))


def left_in_evaluation(recorder: Recorder) -> None:
    """A model that is put into its training mode, under a condition out of it again, and then trained."""
    by_scope: dict[int, list[KeyCall]] = defaultdict(list)
    for one in recorder.key_calls:
        if one.name in ("train", "eval", "backward", "manual_backward"):
            by_scope[id(one.scope)].append(one)
    for calls in by_scope.values():
        for place, one in enumerate(calls[:MAX_CALLS]):
            if one.name != "eval" or not any(branch.kind != "loop" for branch in one.guards):
                continue
            before = [other for other in calls[:place] if other.name == "train" and other.on == one.on]
            after = calls[place + 1 :]
            trains = next((other for other in after if other.name != "eval"), None)
            if before and not before[-1].guards and trains is not None and trains.name != "train":
                held = recorder.names.scope
                recorder.names.scope = one.scope
                recorder.emit("control", "mode", "eval before backward", one.node, name=one.on)
                recorder.names.scope = held
