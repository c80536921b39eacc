"""Saving and loading: what was handed to ``torch.save``, what ``torch.load`` returned, what was restored.

So for safetensors' ``save_file`` and ``load_file``, once that module has been imported.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, cast

from . import shardedfiles, tensors
from .declare import groups_of
from .patching import once, replace
from .session import DISTRIBUTED, SAFETENSORS
from .shards import local_of, sharded_kind

if TYPE_CHECKING:
    from types import ModuleType

    import torch
    from torch.optim import Optimizer

    from .session import Session
    from .steps import Steps
    from .unpickling import Load, Unpickling


class Checkpoints:
    """Reports digests of every tensor that is saved to a file or loaded from one."""

    def __init__(self, session: Session, steps: Steps) -> None:
        self._session = session
        self._steps = steps
        self._local = threading.local()
        self._parts = 0
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
        from . import copies

        known = [tracked for _, tracked in self._steps.roster.known()]
        return copies.compared(value, self._session.config.key, self._session.last_step, known)

    def save(self, call: Callable[[], object], file: object, value: object) -> object:
        """Save ``value`` to ``file`` by ``call``, and report it as it was before."""
        if self._within():
            return call()
        run = self._session.shield.run
        run("checkpoint", self._steps.rest.told)  # what was passed over came before it
        described = run("checkpoint", self.describe, value)
        compared = run("copies", self._compared, value)
        result = call()
        if described is not None:
            run("checkpoint", self.saved, file, described, compared or {})
        return result

    def _within(self) -> bool:
        """Whether this is a part of a larger load, or of a checkpoint of many files.

        Those are written by threads of their own, also beside what the training thread saves by itself.
        """
        aside = threading.current_thread() is not threading.main_thread()
        return self._depth() > 0 or (self._parts > 0 and aside)

    def _depth(self, change: int = 0) -> int:
        """How many loads and saves this thread is in."""
        depth = getattr(self._local, "depth", 0) + change
        self._local.depth = depth
        return depth

    def load(self, call: Callable[[], object], file: object) -> object:
        """Load ``file`` by ``call``, and report what it returned."""
        self._depth(1)
        try:
            value = call()
        finally:
            self._depth(-1)
        if not self._within():
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
                outer = self._depth() == 0
                folder = run("checkpoint", shardedfiles.folder_of, args, kwargs) if outer else None
                before = run("checkpoint", shardedfiles.listing, folder) if folder else None
                given = kwargs.get("state_dict", args[0] if args else None)
                self._depth(1)
                self._parts += 1
                try:
                    result = original(*args, **kwargs)
                except BaseException:
                    if "load" in kind:  # a part may have been read
                        run("checkpoint", self._steps.roster.read_in_place, [])
                    raise
                finally:
                    self._parts -= 1
                    self._depth(-1)
                if outer and "load" in kind:
                    run("checkpoint", self._read_parts, folder or "", given, what)
                elif outer and folder and kind != "async_save":
                    alone = bool(kwargs.get("no_dist"))
                    rank = 0 if alone else run("checkpoint", _rank, kwargs.get("process_group")) or 0
                    run("checkpoint", self._wrote_parts, folder, before or {}, rank, what)
                elif outer:
                    run("checkpoint", self._not_compared, what)
                return result

            return call

        for name in ("save", "async_save", "save_state_dict", "load", "load_state_dict"):
            replace(module, name, around)

    def _wrote_parts(self, folder: str, before: shardedfiles.Listing, rank: int, what: str) -> None:
        """A checkpoint is complete, and with it this rank's files."""
        changed = shardedfiles.changed(before, shardedfiles.listing(folder))
        own = shardedfiles.of_rank(changed, rank)
        for name in own:
            self._report("saved", os.path.join(folder, name), ([], False), {})
        near = shardedfiles.of_machine(changed, rank)
        if _first_here():
            for name in changed:
                if name not in near:
                    self._report("saved", os.path.join(folder, name), ([], False), {"elsewhere": True})
        if not changed or (rank == 0 and not own):
            self._not_compared(what)

    def _read_parts(self, folder: str, given: object, what: str) -> None:
        """A checkpoint was read into the tensors of ``given``, which may be the parameters themselves."""
        kind = sharded_kind()
        parts = [(key, cast("torch.Tensor", local_of(tensor, kind))) for key, tensor in tensors.walk(given)]
        self._steps.roster.read_in_place([part for _, part in parts if tensors.is_plain(part)])
        names = sorted(shardedfiles.listing(folder)) if folder else []
        if shardedfiles.METADATA not in names or not parts:
            self._not_compared(what)
        if shardedfiles.METADATA not in names:
            return
        for name in names[: shardedfiles.MAX_FILES] if _first_here() else []:
            if name != shardedfiles.METADATA:
                self._report("loaded", os.path.join(folder, name), ([], False), {})
        path = os.path.join(folder, shardedfiles.METADATA)
        self._report("loaded", path, tensors.describe(iter(parts)), {})

    def _not_compared(self, what: str) -> None:
        if not self._told:
            self._told = True
            reason = "which files or tensors they are, or when they are complete, cannot be told"
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


def _rank(group: object) -> int:
    distributed = sys.modules.get("torch.distributed")
    if distributed is None or not distributed.is_available() or not distributed.is_initialized():
        return 0
    return int(distributed.get_rank(group))


def _first_here() -> bool:
    """Whether this is the first rank of its machine, which tells of what all of them share."""
    return os.environ.get("LOCAL_RANK", os.environ.get("SLURM_LOCALID", "0")) == "0"


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
            # What only the safe loader reads cannot execute, so that a buffer of it is nothing unseen.
            counts = kwargs.get("weights_only") is not True
            with unpickling.asking.about("torch.load", f, counts=counts):
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
