"""Saving and loading: what was handed to ``torch.save``, what ``torch.load`` returned, what was restored.

So for safetensors' ``save_file`` and ``load_file``, once that module has been imported.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, cast

from . import copies, shardedfiles, tensors
from .declare import groups_of
from .patching import once, replace
from .shards import local_of, sharded_kind

if TYPE_CHECKING:
    from types import ModuleType

    import torch
    from torch.optim import Optimizer

    from .session import Session
    from .steps import Steps
    from .unpickling import Load, Unpickling

SAFETENSORS = "safetensors.torch"
DISTRIBUTED = (
    "torch.distributed.checkpoint.state_dict_saver",
    "torch.distributed.checkpoint.state_dict_loader",
)


class Checkpoints:
    """Reports digests of every tensor that is saved to a file or loaded from one."""

    def __init__(self, session: Session, steps: Steps) -> None:
        self._session = session
        self._steps = steps
        self.depth = 0
        self._told = False

    def describe(self, value: object) -> tuple[list[dict[str, object]], bool]:
        """Digests of the tensors in ``value`` (see ``TensorDigest``)."""
        return tensors.describe(tensors.walk(value))

    def saved(
        self,
        file: object,
        described: tuple[list[dict[str, object]], bool],
        compared: dict[str, object],
    ) -> None:
        """``torch.save`` returned."""
        self._report("saved", file, described, compared)

    def loaded(self, file: object, value: object) -> None:
        """``torch.load`` returned ``value``."""
        self._report("loaded", file, self.describe(value), {})

    def _compared(self, value: object) -> dict[str, object]:
        known = [tracked for _, tracked in self._steps.roster.known()]
        return copies.compared(value, self._session.config.key, self._session.last_step, known)

    def save(self, call: Callable[[], object], file: object, value: object) -> object:
        """Save ``value`` to ``file`` by ``call``, and report it as it was before."""
        if self.depth:  # a part of something larger
            return call()
        run = self._session.shield.run
        described = run("checkpoint", self.describe, value)
        compared = run("copies", self._compared, value)
        result = call()
        if described is not None:
            run("checkpoint", self.saved, file, described, compared or {})
        return result

    def load(self, call: Callable[[], object], file: object) -> object:
        """Load ``file`` by ``call``, and report what it returned."""
        self.depth += 1
        try:
            value = call()
        finally:
            self.depth -= 1
        if self.depth == 0:
            self._session.shield.run("checkpoint", self.loaded, file, value)
        return value

    def watch_safetensors(self, module: ModuleType) -> None:
        """Wrap ``save_file`` and ``load_file`` of safetensors, which its functions for modules call too."""

        def around_save(original: Callable[..., object]) -> Callable[..., object]:
            def save_file(tensors: object, filename: object, *args: object, **kwargs: object) -> object:
                return self.save(lambda: original(tensors, filename, *args, **kwargs), filename, tensors)

            return save_file

        def around_load(original: Callable[..., object]) -> Callable[..., object]:
            def load_file(filename: object, *args: object, **kwargs: object) -> object:
                return self.load(lambda: original(filename, *args, **kwargs), filename)

            return load_file

        replace(module, "save_file", around_save)
        replace(module, "load_file", around_load)

    def watch_distributed(self, module: ModuleType) -> None:
        """Wrap what writes or reads a checkpoint of many files; each save and load inside is a part of it."""
        what = f"{module.__name__.rpartition('.')[0]} writes or reads checkpoints"
        run = self._session.shield.run

        def around(original: Callable[..., object]) -> Callable[..., object]:
            kind = original.__name__

            def call(*args: object, **kwargs: object) -> object:
                outer = self.depth == 0
                folder = run("checkpoint", shardedfiles.folder_of, args, kwargs) if outer else None
                before = run("checkpoint", shardedfiles.listing, folder) if folder else None
                self.depth += 1
                try:
                    result = original(*args, **kwargs)
                finally:
                    self.depth -= 1
                if outer and "load" in kind:
                    run("checkpoint", self._read_parts, folder or "", (*args, *kwargs.values())[:1], what)
                elif outer and folder and kind != "async_save":
                    run("checkpoint", self._wrote_parts, folder, before or {})
                elif outer:
                    run("checkpoint", self._not_compared, what)
                return result

            return call

        for name in ("save", "async_save", "save_state_dict", "load", "load_state_dict"):
            replace(module, name, around)

    def _wrote_parts(self, folder: str, before: shardedfiles.Listing) -> None:
        """This rank's files of a checkpoint are complete."""
        for name in shardedfiles.written(before, shardedfiles.listing(folder), _rank()):
            self._report("saved", os.path.join(folder, name), ([], False), {})

    def _read_parts(self, folder: str, given: Sequence[object], what: str) -> None:
        """A checkpoint was read into the tensors ``given``, which may be the parameters themselves."""
        kind = sharded_kind()
        parts = [
            (key, cast("torch.Tensor", local_of(tensor, kind)))
            for value in given
            for key, tensor in tensors.walk(value)
        ]
        self._steps.roster.read_in_place([part for _, part in parts if tensors.is_plain(part)])
        names = sorted(shardedfiles.listing(folder)) if folder else []
        if shardedfiles.METADATA not in names:
            self._not_compared(what)
            return
        first = os.environ.get("LOCAL_RANK", "0") == "0"  # of each machine one tells of all files
        for name in names[: shardedfiles.MAX_FILES] if first else []:
            if name != shardedfiles.METADATA:
                self._report("loaded", os.path.join(folder, name), ([], False), {})
        path = os.path.join(folder, shardedfiles.METADATA)
        self._report("loaded", path, tensors.describe(iter(parts)), {})

    def _not_compared(self, what: str) -> None:
        if not self._told:
            self._told = True
            reason = "it is not known which files they are, or when they are complete"
            self._session.gap(what, reason, law="weight-continuity")

    def _report(
        self,
        kind: str,
        file: object,
        described: tuple[list[dict[str, object]], bool],
        compared: dict[str, object],
    ) -> None:
        listed, truncated = described
        path = _path(file)
        body: dict[str, object] = {
            "path": path,
            "step": self._session.last_step,
            "tensors": listed,
            "truncated": truncated,
            **compared,
        }
        self._steps.rest.told()  # what was passed over came before it
        if kind == "saved" and path:
            body["inode"] = os.stat(path).st_ino
        self._session.emit(kind, body)


def _begin(unpickling: Unpickling, file: object, settings: Mapping[str, object]) -> Load | None:
    given = settings.get("weights_only")
    return unpickling.begin(
        "torch.load", _path(file), "default" if given is None else str(bool(given)).lower()
    )


def _rank() -> int:
    distributed = sys.modules.get("torch.distributed")
    ready = distributed is not None and distributed.is_available() and distributed.is_initialized()
    return int(distributed.get_rank()) if distributed is not None and ready else 0


def _path(file: object) -> str:
    if isinstance(file, (str, os.PathLike)):
        return os.path.realpath(os.fsdecode(os.fspath(file)))
    name = getattr(file, "name", None)
    if isinstance(name, str) and os.path.exists(name):
        return os.path.realpath(name)
    return ""


def watch_checkpoints(
    session: Session, steps: Steps, unpickling: Unpickling, torch: ModuleType
) -> Checkpoints:
    """Wrap ``torch.save``, ``torch.load`` and the two ``load_state_dict``."""
    checkpoints = Checkpoints(session, steps)
    run = session.shield.run

    def around_save(original: Callable[..., object]) -> Callable[..., object]:
        def save(obj: object, f: object, *args: object, **kwargs: object) -> object:
            return checkpoints.save(lambda: original(obj, f, *args, **kwargs), f, obj)

        return save

    def around_load(original: Callable[..., object]) -> Callable[..., object]:
        def load(f: object, *args: object, **kwargs: object) -> object:
            following = run("unpickling", _begin, unpickling, f, kwargs)
            error = ""
            try:
                return checkpoints.load(lambda: original(f, *args, **kwargs), f)
            except BaseException as raised:
                error = type(raised).__name__
                raise
            finally:
                if following is not None:
                    run("unpickling", unpickling.end, following, error)

        return load

    def around_module(original: Callable[..., object]) -> Callable[..., object]:
        def load_state_dict(self: object, *args: object, **kwargs: object) -> object:
            result = original(self, *args, **kwargs)
            run("checkpoint", steps.roster.restored, module=self)
            return result

        return load_state_dict

    def around_optimizer(original: Callable[..., object]) -> Callable[..., object]:
        def load_state_dict(self: Optimizer, *args: object, **kwargs: object) -> object:
            had_state, groups = bool(self.state), run("checkpoint", groups_of, self)
            result = original(self, *args, **kwargs)
            # A fresh optimizer loaded with what it is itself (accelerate does that) has restored nothing.
            if had_state or self.state or run("checkpoint", groups_of, self) != groups:
                run("checkpoint", steps.roster.restored, optimizer=self)
            return result

        return load_state_dict

    for name, around in (("save", once(around_save)), ("load", once(around_load))):
        for owner in (torch, torch.serialization):
            replace(owner, name, around)
    replace(torch.nn.Module, "load_state_dict", around_module)
    replace(torch.optim.Optimizer, "load_state_dict", around_optimizer)
    session.arrivals[SAFETENSORS] = checkpoints.watch_safetensors
    session.arrivals |= dict.fromkeys(DISTRIBUTED, checkpoints.watch_distributed)
    return checkpoints
