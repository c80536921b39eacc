"""The guard's global step hooks, and what happens when the program takes them out.

A program may clear the hooks of all optimizers, its own and others' with them. Then steps are made unseen,
which would look like weights that move by themselves. So before anything is compared it is checked whether
the hooks are still there; where they are not they are put back, and it is said that steps may be missing.

A program may also have step hooks of its own. torch runs the global hooks and then the optimizer's before a
step, the optimizer's and then the global ones after it. For such an optimizer the guard reads on both sides
of the program's hooks: its global hooks are the first and the last of all, and two more hooks, which it puts
on the optimizer itself, are the nearest to the step.
"""

from __future__ import annotations

import importlib
import weakref
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

    from torch.optim import Optimizer
    from torch.utils.hooks import RemovableHandle

    from .session import Session

    Hooks = dict[int, object]
    """Hooks by the numbers that torch gives them, each of which it gives once."""
    Hook = Callable[[Optimizer, Sequence[object], dict[str, object]], None]

MAX_RETURNS = 50


@dataclass(frozen=True, slots=True)
class Around:
    """The program's hooks before and after a step; ``near``: whether ours are nearer to the step."""

    before: Hooks
    after: Hooks
    near: bool


class StepHooks:
    """Two global hooks, before and after each optimizer's step, and two on optimizers that have others."""

    def __init__(self, session: Session, outer: tuple[Hook, Hook], inner: tuple[Hook, Hook]) -> None:
        self._session = session
        self._outer, self._inner = outer, inner
        self._near: weakref.WeakKeyDictionary[Optimizer, tuple[RemovableHandle, RemovableHandle]] = (
            weakref.WeakKeyDictionary()
        )
        # torch.optim deletes the name of this submodule from itself: it is reached through the import system.
        self._module = importlib.import_module("torch.optim.optimizer")
        self._returns = 0
        self._handles = self._put()

    def returned(self) -> bool:
        """Put the hooks back when one is missing; True when it was."""
        if all(_is_in_place(handle) for handle in self._handles) or self._returns >= MAX_RETURNS:
            return False
        self._returns += 1
        for handle in self._handles:
            handle.remove()
        self._handles = self._put()
        if self._returns == 1:
            self._session.gap(
                "the guard's step hooks were removed and have been put back",
                f"the program, or a library, removed the hooks of all optimizers after step "
                f"{self._session.last_step}: steps in between were not seen",
                remedy="remove a hook by the handle that its registration returned, not by clearing all",
                law="update",
                stops=True,
            )
        return True

    def around(self, optimizer: Optimizer, frame: FrameType) -> Around | None:
        """The program's own hooks around a step of ``optimizer`` in ``frame``, None when it has none.

        Called from our first hook, while no hook of the optimizer's own runs. Its tables are left as they
        are when they are not what torch makes.
        """
        module = self._module
        before, after = module._global_optimizer_pre_hooks, module._global_optimizer_post_hooks
        own_before = getattr(optimizer, "_optimizer_step_pre_hooks", None)
        own_after = getattr(optimizer, "_optimizer_step_post_hooks", None)
        if not own_before and not own_after and len(before) == len(after) == 1:
            return None
        self._be_last(after, frame)
        near = self._near.get(optimizer)
        ours = {handle.id for handle in (*self._handles, *(near or ()))}
        hooks_before = _others(before, ours) | _others(own_before, ours)
        hooks_after = _others(own_after, ours) | _others(after, ours)
        if not hooks_before and not hooks_after:
            for handle in self._near.pop(optimizer, ()):
                handle.remove()
            return None
        if not isinstance(own_before, OrderedDict) or not isinstance(own_after, OrderedDict):
            return Around(hooks_before, hooks_after, near=False)
        if near is None or not all(map(_is_in_place, near)):
            near = self._near[optimizer] = (
                optimizer.register_step_pre_hook(self._inner[0]),
                optimizer.register_step_post_hook(self._inner[1]),
            )
        if next(reversed(own_before)) != near[0].id:
            own_before.move_to_end(near[0].id)
        if next(iter(own_after)) != near[1].id:
            own_after.move_to_end(near[1].id, last=False)
        return Around(hooks_before, hooks_after, near=True)

    def _be_last(self, after: OrderedDict[int, object], frame: FrameType) -> None:
        """Let our global hook run after those that were registered since; not from within their run."""
        last = self._handles[1].id
        if last not in after or next(reversed(after)) == last:
            return
        outer = frame.f_back
        while outer is not None:
            if outer.f_code is frame.f_code:  # another optimizer's step, whose hooks may be running
                return
            outer = outer.f_back
        after.move_to_end(last)

    def _put(self) -> tuple[RemovableHandle, RemovableHandle]:
        handles = (
            self._module.register_optimizer_step_pre_hook(self._outer[0]),
            self._module.register_optimizer_step_post_hook(self._outer[1]),
        )
        self._module._global_optimizer_pre_hooks.move_to_end(handles[0].id, last=False)
        return handles


def _others(table: OrderedDict[int, object] | None, ours: set[int]) -> Hooks:
    return {number: hook for number, hook in table.items() if number not in ours} if table else {}


def _is_in_place(handle: RemovableHandle) -> bool:
    hooks = handle.hooks_dict_ref()
    return hooks is not None and handle.id in hooks
