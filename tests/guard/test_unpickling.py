"""What pickles name while files are loaded; what is only counted; the guard as a guest."""

from __future__ import annotations

import argparse
import collections
import enum
import io
import multiprocessing
import pickle
import sys
import threading
import types
from pathlib import Path

import pytest

from tests.guard.conftest import Guarded
from veracity.core.observation import ObjectsLoaded
from veracity.guard import audit
from veracity.guard.shield import Shield

torch = pytest.importorskip("torch")


class Colour(enum.Enum):
    RED = 1


class Calls:
    """Pickles as a call of ``function(*arguments)``."""

    def __init__(self, function: object, *arguments: object) -> None:
        self._call = function, arguments

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return self._call


def loads(guarded: Guarded) -> list[ObjectsLoaded]:
    return guarded.seen(ObjectsLoaded)


def names(load: ObjectsLoaded) -> list[str]:
    return [one.real or f"{one.module}.{one.name}" for one in load.globals]


def test_a_checkpoint_with_settings(guarded: Guarded, tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    model = torch.nn.Linear(2, 2)
    torch.save({"model": model.state_dict(), "args": argparse.Namespace(lr=0.1), "c": Colour.RED}, path)
    torch.load(path, weights_only=False)
    (load,) = loads(guarded)
    assert (load.way, load.path, load.weights_only, load.failed) == ("torch.load", str(path), "false", "")
    assert (load.caller, load.begun, load.step) == (__file__, False, -1)
    assert load.owner == path.stat().st_uid
    kinds = {f"{one.module}.{one.name}": one.kind for one in load.globals}
    assert kinds["argparse.Namespace"] == "class"
    assert kinds[f"{__name__}.Colour"] == "enum"
    assert kinds["torch._utils._rebuild_tensor_v2"] == "function"


def test_a_safe_load_names_nothing_and_a_fallback_is_seen(guarded: Guarded, tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    torch.save({"args": Calls(print, "marked")}, path)
    with pytest.raises(pickle.UnpicklingError):
        torch.load(path, weights_only=True)
    torch.load(path, weights_only=False)
    refused, loaded = loads(guarded)
    assert (refused.weights_only, refused.failed, refused.globals) == ("true", "UnpicklingError", [])
    assert loaded.fell_back
    assert names(loaded) == ["builtins.print"]


def test_what_is_no_data_is_sent_before_it_is_called(guarded: Guarded, tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    torch.save([Calls(torch.random.manual_seed, 7), Calls(int, "no number")], path)
    with pytest.raises(ValueError, match="no number"):
        torch.load(path, weights_only=False)
    first, last = loads(guarded)
    assert first.begun
    assert names(first) == ["torch.random.manual_seed"]
    assert (last.begun, last.failed, names(last)) == (
        False,
        "ValueError",
        ["torch.random.manual_seed", "builtins.int"],
    )


def test_another_name_for_a_function(guarded: Guarded, tmp_path: Path) -> None:
    path = tmp_path / "a.pkl"
    # Nothing is called: the file only refers to the two.
    path.write_bytes(b"\x80\x04\x8c\x05torch\x8c\x09os.getpid\x93\x8c\x05torch\x8c\x02os\x93\x86.")
    with path.open("rb") as file:
        pickle.load(file)
    last = loads(guarded)[-1]
    assert [(one.real, one.kind) for one in last.globals] == [("posix.getpid", "function"), ("os", "module")]


def test_pickle_load_of_a_file_is_followed_and_of_memory_is_not(guarded: Guarded, tmp_path: Path) -> None:
    data = pickle.dumps({"a": argparse.Namespace(), "b": collections.OrderedDict()})
    path = tmp_path / "a.pkl"
    path.write_bytes(data)
    pickle.loads(data)
    pickle.load(io.BytesIO(data))
    assert loads(guarded) == []
    with path.open("rb") as file:
        pickle.load(file)
    (load,) = loads(guarded)
    assert (load.way, load.path, load.weights_only) == ("pickle.load", str(path), "")
    assert len(load.globals) == 2


def test_harm_in_memory_is_reported_once_with_its_line(guarded: Guarded) -> None:
    data = pickle.dumps(Calls(torch.random.manual_seed, 7))
    for _ in range(3):
        pickle.Unpickler(io.BytesIO(data)).load()
    (load,) = loads(guarded)
    assert (load.way, load.caller, load.path) == ("unpickled", __file__, "")


def test_repeated_loads_are_counted(guarded: Guarded, tmp_path: Path) -> None:
    for number in range(30):
        torch.save([number], tmp_path / f"{number}.pt")
        torch.load(tmp_path / f"{number}.pt")
    assert len(loads(guarded)) == 1
    guarded.session.say_goodbye()
    assert guarded.session.farewell is not None
    guarded.session.farewell()
    assert (loads(guarded)[-1].way, loads(guarded)[-1].repeated) == ("elsewhere", 29)


def test_loads_in_threads_are_told_apart(guarded: Guarded, tmp_path: Path) -> None:
    def load(number: int) -> None:
        path = tmp_path / f"{number}.pkl"
        made = types.ModuleType(f"made{number}")
        kind = type("Kind", (), {"__module__": made.__name__})
        made.Kind = kind  # type: ignore[attr-defined]
        sys.modules[made.__name__] = made
        path.write_bytes(pickle.dumps([kind()]))
        with path.open("rb") as file:
            pickle.load(file)

    threads = [threading.Thread(target=load, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = {
        Path(one.path).stem: [name for name in names(one) if name.endswith("Kind")] for one in loads(guarded)
    }
    assert found == {str(number): [f"made{number}.Kind"] for number in range(8)}


def test_workers_started_by_spawn_are_counted_only(guarded: Guarded) -> None:
    data = torch.utils.data.TensorDataset(torch.arange(8.0))
    context = multiprocessing.get_context("spawn")
    loader = torch.utils.data.DataLoader(data, batch_size=2, num_workers=1, multiprocessing_context=context)
    assert len(list(loader)) == 4
    assert loads(guarded) == []


@pytest.mark.parametrize("function", [pickle.load, torch.load, torch.save], ids=lambda one: one.__name__)
def test_wrapped_functions_can_still_be_pickled(guarded: Guarded, function: object) -> None:
    del guarded, function
    for wrapped in (pickle.load, torch.load, torch.save):
        assert pickle.loads(pickle.dumps(wrapped)) is wrapped


def test_a_handler_that_fails_does_not_disturb(guarded: Guarded) -> None:
    del guarded
    shield, seen = Shield(), []

    def fail(arguments: tuple[object, ...]) -> None:
        seen.append(arguments)
        raise RuntimeError("marked")

    audit.watch("veracity.test", fail, shield, "test")
    audit.watch("veracity.test", lambda arguments: seen.append(("second", *arguments)), shield, "other")
    sys.audit("veracity.test", 1)
    audit.forget("veracity.test")
    sys.audit("veracity.test", 2)
    assert seen == [(1,), ("second", 1)]
    assert shield.failures == {"test": 1}


@pytest.mark.parametrize("legacy", [False, True])
def test_a_call_is_told_from_a_function_that_is_kept(guarded: Guarded, tmp_path: Path, legacy: bool) -> None:
    path = tmp_path / "a.pt"
    kept = {"words": [len], "say": print, "model": torch.ones(3)}
    torch.save(kept, path, _use_new_zipfile_serialization=not legacy)
    torch.load(path, weights_only=False)
    torch.save({**kept, "note": Calls(print, "marked")}, path, _use_new_zipfile_serialization=not legacy)
    torch.load(path, weights_only=False)
    quiet, calling = (
        {f"{one.module}.{one.name}": one.called for one in load.globals}
        for load in loads(guarded)
        if not load.begun
    )
    assert not quiet["__builtin__.print"]
    assert not quiet["__builtin__.len"]
    assert calling["__builtin__.print"]
    assert not calling["__builtin__.len"]
    assert guarded.session.shield.failures == {}
