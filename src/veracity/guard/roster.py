"""The optimizers of this process: numbered, declared, and what is remembered of each."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from operator import is_
from typing import TYPE_CHECKING, cast

from ..core.quantity import quantity
from . import declare, tensors
from .replicas import replicas_of
from .shards import local_of, local_parameters, sharded_kind
from .stepcall import unsharded
from .weakmap import WeakMap

if TYPE_CHECKING:
    import torch

    from .session import Session
    from .sharing import Sharing
    from .tracked import Tracked

MAX_DECLARATIONS = 64
MAX_LOADED = 200_000


class Roster:
    """Who is known, and whom a load concerns. ``attend`` is called when either is about to change."""

    def __init__(self, session: Session, attend: Callable[[], None]) -> None:
        self._session = session
        self._attend = attend
        self._key = session.config.key
        self._tracked: WeakMap[torch.optim.Optimizer, Tracked] = WeakMap()
        self._count = 0
        # Not declared yet. A dictionary, since sets have no order: numbered as they were constructed.
        self._constructed: weakref.WeakKeyDictionary[torch.optim.Optimizer, None] = (
            weakref.WeakKeyDictionary()
        )
        self._loaded: set[int] = set()

    @cached_property
    def sharing(self) -> Sharing:
        """What several optimizers of one tensor share. As all of it, imported when an optimizer is built."""
        from .sharing import Sharing

        return Sharing()

    def constructed(self, optimizer: torch.optim.Optimizer) -> None:
        """An optimizer was constructed; it is declared at the first backward pass or step."""
        if optimizer not in self._tracked:
            self._attend()
            self._constructed[optimizer] = None

    def register(self, optimizer: torch.optim.Optimizer) -> Tracked:
        """Track ``optimizer``; declare it when it is new or its parameters are no longer the same."""
        known = self._tracked.get(optimizer)
        if known is not None and _stands(known, optimizer):
            return known
        # ids are safe to compare: what is tracked is also held, so no number is given to another tensor.
        groups = [local_parameters(group["params"]) for group in optimizer.param_groups]
        identity = tuple([tuple(map(id, group)) for group in groups])
        # A model may change its precision (``model.bfloat16()``) under the same parameters.
        if known is not None and known.identity == identity and _dtypes(known.parameters) == known.dtypes:
            return known
        if known is not None and known.declarations >= MAX_DECLARATIONS:
            return self._declared_too_often(known)
        from .gradients import Trail
        from .modules import Modules
        from .sweep import Sweeper
        from .tracked import Tracked

        listed = [
            (number, parameter)
            for number, group in enumerate(optimizer.param_groups)
            for parameter in group["params"]
        ]
        if known is None:
            self._attend()
        index = known.index if known is not None else self._count
        self._count += known is None
        self.sharing.several = self._count > 1
        local = [tensor for group in groups for tensor in group]
        on_loaded = known is None and any(id(parameter) in self._loaded for _, parameter in listed)
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
            dtypes=_dtypes([parameter for _, parameter in listed]),
            declarations=known.declarations + 1 if known is not None else 1,
            steps=known.steps if known is not None else 0,
            # A module may have been loaded before this optimizer was built on it.
            restore=on_loaded,
            loaded_module=on_loaded,
            hooks_since=known.hooks_since if known is not None else ({}, {}),
        )
        tracked.sweeper = Sweeper(self._key, tracked.local, readable, numpy)
        self._tracked[optimizer] = tracked
        self._constructed.pop(optimizer, None)
        modules = declare.modules_holding(tracked.parameters)
        tracked.held_by = [weakref.ref(module) for module in modules]
        tracked.modules = Modules(modules, self._key, tracked.parameters)
        self._declare(optimizer, tracked, modules, known)
        self._tell_hidden(tracked)
        return tracked

    def _tell_hidden(self, tracked: Tracked) -> None:
        """Parameters that cannot be read are a gap."""
        hidden = tracked.plain.count(False)
        if hidden:
            self._session.gap(
                f"{hidden} of {quantity(len(tracked.plain), 'parameter')} cannot be read element by element",
                "they are on no device, quantized, sparse or of a tensor subclass",
                law="update",
            )

    def settle(self, optimizer: torch.optim.Optimizer, tracked: Tracked) -> None:
        """Before the first step: a program that resumes may wrap its model for its ranks after loading."""
        if tracked.settled:
            return
        tracked.settled = True
        if not tracked.grouped and replicas_of(tracked.parameters):
            self._declare(optimizer, tracked, declare.modules_holding(tracked.parameters))

    def _declare(
        self,
        optimizer: torch.optim.Optimizer,
        tracked: Tracked,
        modules: Sequence[torch.nn.Module],
        before: Tracked | None = None,
    ) -> None:
        listed = list(zip(tracked.groups, tracked.parameters, strict=True))
        body = declare.optimizer_body(tracked.index, optimizer, listed, modules)
        tracked.grouped = bool(body["replicas"])
        since: dict[str, object] = {}
        if before is not None:
            earlier = list(zip(before.groups, before.parameters, strict=True))
            since = declare.regrouping(earlier, tracked.parameters, modules)
        self._session.emit("optimizer", {"optimizer": body, **since})

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

    def register_constructed(self) -> None:
        """Declare the optimizers that were only constructed so far."""
        if self._constructed:
            for optimizer in list(self._constructed):
                self.register(optimizer)

    def has_one(self) -> bool:
        """Whether there is, and was, a single optimizer in this process."""
        return self._count == 1 and not self._constructed

    def of(self, optimizer: object) -> Tracked | None:
        """What is remembered of an optimizer, None when it has not been declared."""
        return self._tracked.find(cast("torch.optim.Optimizer", optimizer))

    def known(self) -> list[tuple[torch.optim.Optimizer, Tracked]]:
        """The optimizers alive, with what is remembered of each."""
        return list(self._tracked.items())

    def optimized(self) -> set[int]:
        """Ids of all parameters that optimizers hold now, also of those that have not stepped yet."""
        everyone = [*(optimizer for optimizer, _ in self.known()), *list(self._constructed)]
        return {
            id(one) for optimizer in everyone for group in optimizer.param_groups for one in group["params"]
        }

    def restored(
        self, *, module: torch.nn.Module | None = None, optimizer: torch.optim.Optimizer | None = None
    ) -> None:
        """State was loaded into ``module`` or ``optimizer``: whom it concerns reports at its next step.

        A module concerns the optimizers that hold one of its parameters, now or when they are built.
        """
        self._attend()
        self.register_constructed()
        if optimizer is not None:
            tracked = self.register(optimizer)
            tracked.restore = tracked.loaded_state = True
        if module is not None:
            loaded = {id(parameter) for parameter in module.parameters()}
            self._loaded = (self._loaded | loaded) if len(self._loaded) < MAX_LOADED else loaded
            for _, tracked in self.known():
                if any(id(parameter) in loaded for parameter in tracked.parameters):
                    tracked.restore = tracked.loaded_module = True

    def read_in_place(self, read: Sequence[torch.Tensor]) -> None:
        """Something was loaded into the plain tensors ``read``: an optimizer's own may be among them.

        Whatever it was, no optimizer's tensors need be what they were before.
        """
        self._attend()
        self.register_constructed()
        places = {tensor.data_ptr() for tensor in read if tensor.numel()}
        for optimizer, tracked in self.known():
            tracked.restore = True
            local = [one for one in tracked.local if tensors.is_plain(one) and one.numel()]
            if any(tensor.data_ptr() in places for tensor in local):
                tracked.loaded_module = True
            if any(tensor.data_ptr() in places for tensor in _state_of(optimizer)):
                tracked.loaded_state = True

    def taken_in(self, tracked: Tracked) -> None:
        """What was loaded has been reported at a step."""
        tracked.loaded_module = tracked.loaded_state = tracked.restore = False
        self._loaded -= {id(parameter) for parameter in tracked.parameters}


def _stands(known: Tracked, optimizer: torch.optim.Optimizer) -> bool:
    """Whether these are still the same parameters of the same types, none of them sharded."""
    given = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    if len(given) != len(known.local) or len(optimizer.param_groups) != len(known.identity):
        return False
    if not all(map(is_, given, known.local)) or not all(map(is_, given, known.parameters)):
        return False
    return _dtypes(given) == known.dtypes


def _state_of(optimizer: torch.optim.Optimizer) -> Iterator[torch.Tensor]:
    kind = sharded_kind()
    for _, value in tensors.walk(list(optimizer.state.values())):
        part = cast("torch.Tensor", local_of(value, kind))
        if tensors.is_plain(part) and part.numel():
            yield part


def _dtypes(parameters: Sequence[torch.Tensor]) -> list[torch.dtype]:
    return [parameter.dtype for parameter in parameters]
