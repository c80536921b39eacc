"""The guard's global step hooks, and what happens when the program takes them out.

A program may clear the hooks of all optimizers, its own and others' with them. Then steps are made unseen,
which would look like weights that move by themselves. So before anything is compared it is checked whether
the hooks are still there; where they are not they are put back, and it is said that steps may be missing.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch.optim import Optimizer
    from torch.utils.hooks import RemovableHandle

    from .session import Session

    Before = Callable[[Optimizer, Sequence[object], dict[str, object]], None]

MAX_RETURNS = 50


class StepHooks:
    """Two global hooks, before and after each optimizer's step."""

    def __init__(self, session: Session, before: Before, after: Before) -> None:
        self._session = session
        self._before, self._after = before, after
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

    def _put(self) -> tuple[RemovableHandle, RemovableHandle]:
        return (
            self._module.register_optimizer_step_pre_hook(self._before),
            self._module.register_optimizer_step_post_hook(self._after),
        )


def _is_in_place(handle: RemovableHandle) -> bool:
    hooks = handle.hooks_dict_ref()
    return hooks is not None and handle.id in hooks
