"""Saving and loading: what was handed to ``torch.save``, what ``torch.load`` returned, what was restored."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from . import tensors
from .patching import replace

if TYPE_CHECKING:
    from types import ModuleType

    from .session import Session
    from .steps import Steps


class Checkpoints:
    """Reports digests of every tensor that crosses ``torch.save`` or ``torch.load``."""

    def __init__(self, session: Session, steps: Steps) -> None:
        self._session = session
        self._steps = steps
        self.depth = 0

    def describe(self, value: object) -> tuple[list[dict[str, object]], bool]:
        """Digests of the tensors in ``value`` (see ``TensorDigest``)."""
        return tensors.describe(tensors.walk(value))

    def saved(self, file: object, described: tuple[list[dict[str, object]], bool]) -> None:
        """``torch.save`` returned."""
        self._report("saved", file, described)

    def loaded(self, file: object, value: object) -> None:
        """``torch.load`` returned ``value``."""
        self._report("loaded", file, self.describe(value))

    def _report(self, kind: str, file: object, described: tuple[list[dict[str, object]], bool]) -> None:
        listed, truncated = described
        path = _path(file)
        body: dict[str, object] = {
            "path": path,
            "step": self._session.last_step,
            "tensors": listed,
            "truncated": truncated,
        }
        if kind == "saved" and path:
            body["inode"] = os.stat(path).st_ino
        self._session.emit(kind, body)


def _path(file: object) -> str:
    if isinstance(file, (str, os.PathLike)):
        return os.path.realpath(os.fsdecode(os.fspath(file)))
    name = getattr(file, "name", None)
    if isinstance(name, str) and os.path.exists(name):
        return os.path.realpath(name)
    return ""


def watch_checkpoints(session: Session, steps: Steps, torch: ModuleType) -> Checkpoints:
    """Wrap ``torch.save``, ``torch.load`` and the two ``load_state_dict``."""
    checkpoints = Checkpoints(session, steps)
    run = session.shield.run

    def around_save(original: Callable[..., object]) -> Callable[..., object]:
        def save(obj: object, f: object, *args: object, **kwargs: object) -> object:
            described = run("checkpoint", checkpoints.describe, obj)
            result = original(obj, f, *args, **kwargs)
            if described is not None:
                run("checkpoint", checkpoints.saved, f, described)
            return result

        return save

    def around_load(original: Callable[..., object]) -> Callable[..., object]:
        def load(f: object, *args: object, **kwargs: object) -> object:
            checkpoints.depth += 1
            try:
                value = original(f, *args, **kwargs)
            finally:
                checkpoints.depth -= 1
            if checkpoints.depth == 0:
                run("checkpoint", checkpoints.loaded, f, value)
            return value

        return load

    def around_module(original: Callable[..., object]) -> Callable[..., object]:
        def load_state_dict(self: object, *args: object, **kwargs: object) -> object:
            result = original(self, *args, **kwargs)
            run("checkpoint", steps.restored, module=self)
            return result

        return load_state_dict

    def around_optimizer(original: Callable[..., object]) -> Callable[..., object]:
        def load_state_dict(self: object, *args: object, **kwargs: object) -> object:
            result = original(self, *args, **kwargs)
            run("checkpoint", steps.restored, optimizer=self)
            return result

        return load_state_dict

    for owner in (torch, torch.serialization):
        replace(owner, "save", around_save)
        replace(owner, "load", around_load)
    replace(torch.nn.Module, "load_state_dict", around_module)
    replace(torch.optim.Optimizer, "load_state_dict", around_optimizer)
    return checkpoints
