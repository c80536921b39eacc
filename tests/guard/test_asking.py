"""Before a file is loaded: who is told, who waits for an answer, and what is loaded without one (nothing)."""

from __future__ import annotations

import dataclasses
import gzip
import io
import os
import pickle
import re
import tempfile
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.guard.answering import Question, allows, listening, refuses
from tests.guard.conftest import Guarded
from veracity.core.fileidentity import identity_of
from veracity.core.observation import FileLoading, Gap, ObjectsLoaded
from veracity.guard import asking
from veracity.guard.asking import LoadRefusedError

torch = pytest.importorskip("torch")
np = pytest.importorskip("numpy")
RAN: list[str] = []


class Marked:
    """Pickles as a call that leaves a mark."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return RAN.append, ("ran",)


@pytest.fixture(autouse=True)
def _nothing_ran() -> None:
    RAN.clear()


@pytest.fixture
def enforced(guarded: Guarded) -> Guarded:
    config = guarded.session.config
    guarded.session.config = dataclasses.replace(config, enforces=True, answer_within=20.0)
    return guarded


def told(guarded: Guarded) -> list[FileLoading]:
    return guarded.seen(FileLoading)


def gaps(guarded: Guarded, word: str) -> list[Gap]:
    return [one for one in guarded.seen(Gap) if word in one.what]


def written(path: Path, value: object = None) -> Path:
    path.write_bytes(pickle.dumps(value))
    return path


def by_pickle_load(path: Path) -> object:
    with path.open("rb") as file:
        return pickle.load(file)


def by_unpickler(path: Path) -> object:
    with path.open("rb") as file:
        return pickle.Unpickler(file).load()


def by_subclass(path: Path) -> object:
    class Own(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> object:
            return super().find_class(module, name)

    with path.open("rb") as file:
        return Own(file=file).load()


def in_python(path: Path) -> object:
    with path.open("rb") as file:
        return pickle._Unpickler(file).load()


def unbuffered(path: Path) -> object:
    with open(path, "rb", buffering=0) as file:
        return pickle.load(file)


def by_torch(path: Path) -> object:
    return torch.load(path, weights_only=False)


def by_torch_text(path: Path) -> object:
    return torch.load(str(path), weights_only=False)


def by_torch_file(path: Path) -> object:
    with path.open("rb") as file:
        return torch.load(file, weights_only=False)


def by_numpy(path: Path) -> object:
    return np.load(path, allow_pickle=True)


def by_joblib(path: Path) -> object:
    return pytest.importorskip("joblib").load(path)


WAYS = (by_joblib, by_pickle_load, by_unpickler, by_subclass, in_python, unbuffered, by_numpy)
TORCH_WAYS = (by_torch, by_torch_text, by_torch_file)


@pytest.mark.parametrize("load", [*WAYS, *TORCH_WAYS])
def test_the_monitor_is_told_before(guarded: Guarded, tmp_path: Path, load: Callable[[Path], object]) -> None:
    path = tmp_path / "a.bin"
    if load in TORCH_WAYS:
        torch.save([1, 2], path)
    else:
        written(path, [1, 2])
    for _ in range(3):
        assert load(path) == [1, 2]
    (one,) = told(guarded)
    assert (one.path, one.identity, one.asks) == (str(path), identity_of(path.stat()), False)
    assert (one.offset, one.step) == (0, -1)
    assert guarded.session.shield.failures == {}
    kinds = [type(seen) for seen in (*told(guarded), *guarded.seen(ObjectsLoaded))]
    assert kinds == [FileLoading, ObjectsLoaded]


def test_a_legacy_checkpoint_is_one_load(guarded: Guarded, tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    torch.save({"w": torch.ones(3)}, path, _use_new_zipfile_serialization=False)
    by_torch_file(path)
    assert [(one.way, one.offset) for one in told(guarded)] == [("torch.load", 0)]


def test_where_a_load_begins(guarded: Guarded, tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"a header" + pickle.dumps(1))
    with path.open("rb") as file:
        file.seek(8)
        assert pickle.load(file) == 1
    array = tmp_path / "a.npy"
    np.save(array, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    by_numpy(array)
    assert [one.offset for one in told(guarded)] == [8, 128]


def test_files_that_stand_behind_others(guarded: Guarded, tmp_path: Path) -> None:
    data = pickle.dumps([1])
    with gzip.open(tmp_path / "a.gz", "wb") as packed:
        packed.write(data)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.pkl", data)
    with gzip.open(tmp_path / "a.gz", "rb") as unpacked:
        pickle.load(unpacked)
    with zipfile.ZipFile(tmp_path / "a.zip") as archive, archive.open("a.pkl") as member:
        pickle.load(member)
    with tempfile.NamedTemporaryFile(dir=tmp_path) as named:
        named.write(b"12345678" + data)
        named.flush()
        named.seek(8)
        pickle.load(named)
        moved = tmp_path / "moved"
        os.link(named.name, moved)
        name = named.name
    found = [(one.path, one.offset) for one in told(guarded)]
    assert found == [(str(tmp_path / "a.gz"), 0), (str(tmp_path / "a.zip"), 0), (name, 8)]


def test_arrays_of_joblib(guarded: Guarded, tmp_path: Path) -> None:
    joblib = pytest.importorskip("joblib")
    for name, packed in (("plain", 0), ("packed", 3)):
        joblib.dump({"a": np.arange(99.0)}, tmp_path / name, compress=packed)
        assert joblib.load(tmp_path / name)["a"][98] == 98
    found = [(one.way, one.path, one.offset) for one in told(guarded)]
    assert found == [("joblib.load", str(tmp_path / name), 0) for name in ("plain", "packed")]


def test_an_open_file_is_named_as_it_lies_now(guarded: Guarded, tmp_path: Path) -> None:
    path = written(tmp_path / "a.pkl")
    with path.open("rb") as file:
        path.rename(tmp_path / "b.pkl")
        pickle.load(file)
    assert told(guarded)[0].path == str(tmp_path / "b.pkl")


def test_buffers_and_streams_are_counted_once(guarded: Guarded) -> None:
    data, buffer = pickle.dumps([1]), io.BytesIO()
    torch.save([1], buffer)
    for _ in range(2):
        pickle.load(io.BytesIO(data))
        torch.load(io.BytesIO(buffer.getvalue()), weights_only=False)
        torch.load(io.BytesIO(buffer.getvalue()), weights_only=True)
        pickle.loads(data)
    reader, writer = os.pipe()
    os.write(writer, data)
    os.close(writer)
    with open(reader, "rb") as pipe:
        pickle.load(pipe)
    assert gaps(guarded, "no file") == []
    assert guarded.session.farewell is not None
    guarded.session.farewell()
    assert "(5 times)" in gaps(guarded, "no file")[0].what
    assert told(guarded) == []


def test_what_a_child_by_fork_loads_is_told(guarded: Guarded, tmp_path: Path) -> None:
    path = written(tmp_path / "a.pkl")
    child = os.fork()
    if child == 0:
        by_pickle_load(path)
        pickle.load(io.BytesIO(pickle.dumps(1)))
        os._exit(0)
    os.waitpid(child, 0)
    assert [one.path for one in told(guarded)] == [str(path)]
    assert len(gaps(guarded, "no file")) == 1


def test_no_more_files_are_told_of_than_a_record_bears(
    guarded: Guarded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "MAX_TOLD", 3)
    for number in range(5):
        by_pickle_load(written(tmp_path / f"{number}.pkl"))
    assert len(told(guarded)) == 3
    assert guarded.session.farewell is not None
    guarded.session.farewell()
    assert "2 further loads of files" in gaps(guarded, "further load")[0].what


def exchange(path: str, other: str) -> str:
    os.replace(other, path)
    return "exchanged"


def turn(link: str, other: str) -> str:
    os.unlink(link)
    os.symlink(other, link)
    return "turned"


class Turns:
    """Pickles as a call that has a link lead elsewhere."""

    def __init__(self, link: Path) -> None:
        self._link = link

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return turn, (str(self._link), str(written(self._link.with_name("b"))))


def test_a_link_that_leads_elsewhere_meanwhile(guarded: Guarded, tmp_path: Path) -> None:
    path, link = tmp_path / "a.pt", tmp_path / "latest.pt"
    link.symlink_to(path)
    torch.save(Turns(link), path)
    assert by_torch(link) == "turned"
    assert [one.path for one in told(guarded)] == [str(path)]
    assert len(gaps(guarded, f"{path} is not the file any more")) == 1


class Exchanges:
    """Pickles as a call that puts another file in a file's place."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return exchange, (str(self._path), str(written(self._path.with_name("b"))))


def test_a_file_that_is_exchanged_meanwhile(guarded: Guarded, tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    torch.save(Exchanges(path), path)
    assert by_torch(path) == "exchanged"
    assert len(gaps(guarded, f"{path} is not the file any more")) == 1


# --- under enforce -------------------------------------------------------------------------------


@pytest.mark.parametrize("load", [*WAYS, *TORCH_WAYS])
def test_what_is_allowed_is_loaded_and_asked_for_once(
    enforced: Guarded, tmp_path: Path, load: Callable[[Path], object]
) -> None:
    path = tmp_path / "a.bin"
    if load in TORCH_WAYS:
        torch.save([1, 2], path)
    else:
        written(path, [1, 2])
    with listening(tmp_path / "guard.sock", allows) as heard:
        assert load(path) == [1, 2]
        assert load(path) == [1, 2]
    assert [(one["path"], one["identity"]) for one in heard] == [(str(path), identity_of(path.stat()))]
    assert [one.asks for one in told(enforced)] == [True]


@pytest.mark.parametrize("load", [*WAYS, *TORCH_WAYS])
def test_what_is_refused_does_nothing(
    enforced: Guarded, tmp_path: Path, load: Callable[[Path], object]
) -> None:
    path = tmp_path / "a.bin"
    if load in TORCH_WAYS:
        torch.save(Marked(), path)
    else:
        written(path, Marked())
    with listening(tmp_path / "guard.sock", refuses) as heard:
        with pytest.raises(pickle.UnpicklingError):
            load(path)
        with pytest.raises(pickle.UnpicklingError) as refused:
            load(path)
    assert len(heard) == 2
    assert RAN == []
    error: BaseException | None = refused.value
    while error is not None and not isinstance(error, LoadRefusedError):
        error = error.__cause__  # numpy puts an error of its own around it
    assert f"{path}: not loaded: checkpoint-marked: holds a mark. Take it out" in str(error)


def test_names_that_a_terminal_would_obey(enforced: Guarded, tmp_path: Path) -> None:
    path = written(tmp_path / "a\x1b[2J\udcff.pkl")
    with (
        listening(tmp_path / "guard.sock", refuses),
        pytest.raises(LoadRefusedError, match=re.escape("a\\x1b[2J\\udcff.pkl: not loaded")),
    ):
        by_pickle_load(path)


def silent(question: Question) -> None:
    del question


ANSWERS: dict[str, Callable[[Question], bytes | None]] = {
    "silent": silent,
    "no JSON": lambda question: b"\xff",
    "hung up": lambda question: b"",
    "no object": lambda question: b"[]",
    "truthy": lambda question: allows(question).replace(b"true", b"1"),
    "another file": lambda question: allows({**question, "identity": "1:2:3:4:5"}),
    "another place": lambda question: allows({**question, "offset": 7}),
}


@pytest.mark.parametrize("how", ANSWERS)
def test_without_an_answer_nothing_is_loaded(enforced: Guarded, tmp_path: Path, how: str) -> None:
    enforced.session.config = dataclasses.replace(enforced.session.config, answer_within=0.3)
    path = written(tmp_path / "a.pkl", Marked())
    with listening(tmp_path / "guard.sock", ANSWERS[how]), pytest.raises(LoadRefusedError):
        by_pickle_load(path)
    assert RAN == []


def test_a_monitor_that_is_gone(enforced: Guarded, tmp_path: Path) -> None:
    path = written(tmp_path / "a.pkl", Marked())
    with pytest.raises(LoadRefusedError, match="gave no answer, and --policy enforce loads nothing unseen"):
        by_pickle_load(path)
    assert (RAN, len(gaps(enforced, "gave no answer"))) == ([], 1)


def test_another_account_in_the_monitors_place(
    enforced: Guarded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        asking, "_CREDENTIALS", type("", (), {"size": 12, "unpack": lambda raw: (1, 65534, 1)})
    )
    path = written(tmp_path / "a.pkl", Marked())
    with listening(tmp_path / "guard.sock", allows) as heard, pytest.raises(LoadRefusedError):
        by_pickle_load(path)
    assert (RAN, heard) == ([], [])


def test_a_file_that_changed_is_not_handed_on(enforced: Guarded, tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    torch.save([1], path)

    def touches(question: Question) -> bytes:
        os.utime(path)
        return allows(question)

    with listening(tmp_path / "guard.sock", touches), pytest.raises(LoadRefusedError, match="not handed on"):
        by_torch(path)


class Appears(os.PathLike[str]):
    """A path at which a file appears once it has been asked for."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._calls = 0

    def __fspath__(self) -> str:
        self._calls += 1
        if self._calls == 2:
            torch.save([1], self._path)
        return str(self._path)


def test_what_was_not_there_cannot_be_slipped_in(enforced: Guarded, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        by_torch(tmp_path / "missing.pt")
    with pytest.raises(LoadRefusedError, match="not handed on"):
        torch.load(Appears(tmp_path / "later.pt"))
    assert told(enforced) == []


def test_many_threads_ask_at_once(enforced: Guarded, tmp_path: Path) -> None:
    paths = [written(tmp_path / f"{number}.pkl", number) for number in range(24)]
    found: list[object] = []
    with listening(tmp_path / "guard.sock", allows) as heard:
        threads = [
            threading.Thread(target=lambda one=one: found.append(by_pickle_load(one))) for one in paths
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert (sorted(map(str, found)), len(heard)) == (sorted(map(str, range(24))), 24)


def test_the_class_of_unpicklers_looks_as_before(guarded: Guarded) -> None:
    del guarded
    kind = pickle.Unpickler
    assert (kind.__name__, kind.__module__) == ("Unpickler", "_pickle")
    assert kind.__doc__ == kind.__wrapped__.__doc__  # type: ignore[attr-defined]
    assert pickle.loads(pickle.dumps(kind)) is kind
    kept = kind(io.BytesIO(pickle.dumps([1])))
    kept.persistent_load = str  # type: ignore[method-assign]
    assert kept.load() == [1]
    assert kept.persistent_load is str
    with pytest.raises(TypeError):
        kind()  # type: ignore[call-arg]
    with pytest.raises(AttributeError):
        kind(io.BytesIO()).other = 1  # type: ignore[attr-defined]


def test_an_error_of_a_refusal_can_be_sent_to_another_process() -> None:
    sent = pickle.loads(pickle.dumps(LoadRefusedError("why")))
    assert (type(sent), str(sent)) == (LoadRefusedError, "why")
