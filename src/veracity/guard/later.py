"""Parts of the step records that are imported when the first optimizer is built.

A process that only imports torch needs none of them. Nor are they left to the first step, whose time is told.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .attention import Attention
    from .content import Contents
    from .roster import Roster
    from .session import Session
    from .sharing import Sharing
    from .stephooks import StepHookHabits
    from .truth.check import GradientTruth


class Later:
    """What :class:`Steps` puts off. Made once, whoever asks first."""

    _session: Session
    attention: Attention
    roster: Roster
    within: Callable[[], None] = staticmethod(lambda: None)
    """Called amidst forward passes that are captured."""

    @cached_property
    def contents(self) -> Contents:
        """What became of the batches."""
        from .content import Contents

        return Contents(self._session.config.key, self.attention.deeply)

    @cached_property
    def truth(self) -> GradientTruth:
        """The checks of gradients against differences."""
        from .truth.check import GradientTruth

        return GradientTruth(self._session, self._session.config.overhead, self.within)

    @cached_property
    def _sharing(self) -> Sharing:
        return self.roster.sharing

    @cached_property
    def _step_hooks(self) -> StepHookHabits:
        from .stephooks import StepHookHabits

        return StepHookHabits(self._session)

    def prepare(self) -> None:
        """Make all of it."""
        from . import modules, tracked  # noqa: F401

        for name in ("contents", "truth", "_sharing", "_step_hooks"):
            getattr(self, name)

    def content_begins(self, of: object) -> None:
        """Called before each outermost backward pass: which batches it is about."""
        self.contents.backward_begins(of)
