"""``veracity.protect``: what a training script itself says of its parts.

In a process that is not guarded it does nothing and imports nothing. In a guarded one the guard, which lies
there under a name of its own and not as this package, is asked: it may be of another version than this.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TypeVar

F = TypeVar("F", bound=Callable[..., object])

GUARD = "_veracity_guard.guard.protection"


def protect(*, loss_fn: F, differentiable: bool = False) -> F:
    """Have the gradients that ``loss_fn`` hands back compared with its derivative, now and then.

    Use what is returned in its place: a module is returned as it is, a function in a thin wrapper.
    ``differentiable``: no part of it replaces a derivative on purpose, so that a custom autograd function
    which has been wrong from the first step on is an error, too.
    """
    guard = sys.modules.get(GUARD)
    if guard is None:
        return loss_fn
    protected: F = guard.protect(loss_fn, differentiable=differentiable)
    return protected
