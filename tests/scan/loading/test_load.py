"""Loading: the same data as the library that wrote it, and nothing of a file is ever imported or called."""

from __future__ import annotations

import argparse
import collections
import contextlib
import datetime
import decimal
import fractions
import pathlib
import pickle
import random
import sys
import uuid
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from veracity.core.errors import Error, EvidenceError, VerificationError
from veracity.scan.loading.load import load_whole
from veracity.scan.loading.opaque import Named, Opaque

SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(), st.binary(max_size=300)
)
KEYS = st.one_of(st.text(max_size=9), st.integers(), st.tuples(st.text(max_size=3), st.integers()))
DATA = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=5),
        st.dictionaries(KEYS, inner, max_size=5),
        st.tuples(inner, inner),
        st.sets(st.integers(), max_size=4),
        st.frozensets(st.text(max_size=3), max_size=4),
        st.dictionaries(KEYS, inner, max_size=3).map(collections.OrderedDict),
    ),
    max_leaves=12,
)


def checkpoint() -> dict[str, object]:
    """What training scripts save."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.BatchNorm1d(7))
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.randn(3, 5)).sum().backward()
    optimizer.step()
    weight = next(iter(model.parameters()))
    return {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "weight": weight,
        "turned": weight.t(),
        "part": weight.detach()[1:3, ::2],
        "rng": torch.get_rng_state(),
        "python": random.getstate(),
        "numpy": np.random.get_state(),
        "args": argparse.Namespace(lr=0.1, name="x"),
        "dtype": torch.bfloat16,
        "size": torch.Size([1, 2]),
        "device": torch.device("cpu"),
        "half": torch.randn(3).half(),
        "brain": torch.randn(4).bfloat16(),
        "complex": torch.randn(2, dtype=torch.complex64),
        "empty": torch.empty(0, 3),
        "scalar": torch.tensor(3),
        "sparse": torch.eye(3).to_sparse(),
        "rows": torch.eye(3).to_sparse_csr(),
        "step": 12,
    }


def plain() -> dict[str, object]:
    """Data of the standard library and numpy."""
    return {
        "times": [
            datetime.datetime(2030, 1, 2, 3, 4, 5, 6),  # noqa: DTZ001
            datetime.timedelta(1, 2, 3),
            datetime.date(2030, 1, 2),
        ],
        "zone": datetime.datetime(2030, 1, 2, tzinfo=datetime.timezone.utc),
        "numbers": [decimal.Decimal("1.50"), fractions.Fraction(1, 3), 2**3000, -(2**70), 1j],
        "kinds": [slice(1, 2, None), range(3), bytearray(b"1" * 2000), uuid.UUID(int=7)],
        "default": collections.defaultdict(list, {1: [2]}),
        "counter": collections.Counter("aab"),
        "deque": collections.deque([1, 2], 3),
        "arrays": [
            np.arange(6.0).reshape(2, 3),
            np.asfortranarray(np.ones((2, 3))),
            np.arange(3, dtype=">i4"),
        ],
        "odd arrays": [
            np.zeros(2, dtype=[("a", "i4"), ("b", "f8", (2,))]),
            np.array(["2020-01-01"], dtype="M8[D]"),
            np.array(["ab", "c"]),
            np.array([True]),
            np.zeros((0, 2)),
        ],
        "numpy scalar": np.float64(3),
        "text": "é" * 2000,
    }


def assert_same(one: object, other: object) -> None:
    if isinstance(one, torch.Tensor):
        assert isinstance(other, type(one))
        assert (one.dtype, one.shape, one.requires_grad) == (other.dtype, other.shape, other.requires_grad)
        if one.layout is torch.strided:
            assert one.stride() == other.stride()
            assert torch.equal(one, other)
        else:
            assert torch.equal(one.to_dense(), other.to_dense())
    elif isinstance(one, np.ndarray):
        assert isinstance(other, np.ndarray)
        assert (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes())
    elif isinstance(one, dict):
        assert isinstance(other, dict)
        assert type(one) is type(other)
        assert list(one) == list(other)
        for key in one:
            assert_same(one[key], other[key])
        assert getattr(one, "_metadata", None) == getattr(other, "_metadata", None)
    elif isinstance(one, (list, tuple)):
        assert isinstance(other, (list, tuple))
        assert (type(one), len(one)) == (type(other), len(other))
        for left, right in zip(one, other, strict=True):
            assert_same(left, right)
    else:
        assert type(one) is type(other)
        assert one == other


@pytest.mark.parametrize("zipped", [True, False])
def test_checkpoints_of_torch_are_what_they_were(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "model.pt"
    saved = checkpoint()
    torch.save(saved, path, _use_new_zipfile_serialization=zipped)

    loaded = load_whole(path)

    assert loaded.opaque == ()
    assert_same(saved, loaded.value)
    value = loaded.value
    assert isinstance(value, dict)
    assert value["weight"].data_ptr() == value["model"]["0.weight"].data_ptr() == value["turned"].data_ptr()


@pytest.mark.parametrize("protocol", range(6))
def test_plain_data_are_what_they_were_in_every_protocol(tmp_path: Path, protocol: int) -> None:
    path = tmp_path / "data.pkl"
    path.write_bytes(pickle.dumps(plain(), protocol))

    loaded = load_whole(path)

    assert loaded.opaque == ()
    assert_same(plain(), loaded.value)


@given(value=DATA, protocol=st.integers(0, 5))
@settings(max_examples=150, deadline=None)
def test_any_data_are_what_they_were(
    tmp_path_factory: pytest.TempPathFactory, value: object, protocol: int
) -> None:
    path = tmp_path_factory.mktemp("any") / "data.pkl"
    path.write_bytes(pickle.dumps(value, protocol))

    assert_same(value, load_whole(path).value)


def test_a_list_in_itself_stays_one(tmp_path: Path) -> None:
    one: list[object] = []
    one.append((one, {"a": one}))
    path = tmp_path / "data.pkl"
    path.write_bytes(pickle.dumps(one))

    loaded = load_whole(path).value

    assert isinstance(loaded, list)
    assert loaded[0][0] is loaded
    assert loaded[0][1]["a"] is loaded


def test_paths_have_no_file_system_behind_them(tmp_path: Path) -> None:
    path = tmp_path / "data.pkl"
    path.write_bytes(pickle.dumps(pathlib.Path("/a/b")))

    assert load_whole(path).value == pathlib.PurePosixPath("/a/b")


@given(data=st.data())
@settings(max_examples=200, deadline=None)
def test_damaged_files_are_errors_and_import_nothing(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    whole = bytearray(
        pickle.dumps({"a": [1, 2, (3, "x" * 20)], "b": np.arange(3), "c": collections.OrderedDict(a=1)})
    )
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("damaged") / "data.pkl"
    path.write_bytes(bytes(whole[: data.draw(st.integers(1, len(whole)))]))
    before = set(sys.modules)

    with contextlib.suppress(Error):
        load_whole(path)
    # A codec is a module, too: readers of other formats ask for theirs.
    assert not {one for one in set(sys.modules) - before if not one.startswith("encodings.")}


def test_a_tensor_that_reaches_out_of_its_storage_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.save({"w": torch.ones(4)}, path, _use_new_zipfile_serialization=False)
    data = path.read_bytes()
    assert data.count(b"K\x04\x85") == 1  # the size, (4,)
    path.write_bytes(data.replace(b"K\x04\x85", b"K\x09\x85"))

    with pytest.raises(VerificationError, match="reaches beyond its storage"):  # the gate's word
        load_whole(path)


def test_a_pickle_that_is_packed_is_read_and_packed_numbers_are_not(tmp_path: Path) -> None:
    """torch packs nothing; programs that write an archive again do."""
    torch.save({"w": torch.ones(4)}, tmp_path / "model.pt")
    for packed, name in (("data.pkl", "pickle.pt"), ("data/0", "numbers.pt")):
        with zipfile.ZipFile(tmp_path / "model.pt") as old, zipfile.ZipFile(tmp_path / name, "w") as new:
            for one in old.infolist():
                how = zipfile.ZIP_DEFLATED if one.filename.endswith(packed) else zipfile.ZIP_STORED
                new.writestr(one.filename, old.read(one), how)

    loaded = load_whole(tmp_path / "pickle.pt").value

    assert isinstance(loaded, dict)
    assert torch.equal(loaded["w"], torch.ones(4))
    with pytest.raises(EvidenceError, match="packed"):
        load_whole(tmp_path / "numbers.pt")


def test_the_digest_is_of_the_bytes_that_were_loaded(tmp_path: Path) -> None:
    path = tmp_path / "data.pkl"
    path.write_bytes(pickle.dumps([1]))
    digest = str(load_whole(path).digest)

    assert load_whole(path, digest=digest).value == [1]
    with pytest.raises(VerificationError, match="not the file that was meant"):
        load_whole(path, digest="sha256:" + "0" * 64)
    with pytest.raises(EvidenceError):
        load_whole(path, digest="md5:1")


class Strange:
    """A class that no loader knows."""

    def __init__(self) -> None:
        self.a = 1


def test_what_has_no_maker_is_described_and_not_built() -> None:
    """The makers alone, since the gate may have an opinion about it."""
    from veracity.observe.pickle.machine import walk
    from veracity.observe.pickle.source import Memory
    from veracity.scan.loading import plain as tables
    from veracity.scan.loading.build import build

    data = pickle.dumps([Strange(), Strange, {"x": Strange()}])
    value, opaque = build(walk(data, record_values=True), Memory(data), tables.makers(), None)

    assert isinstance(value, list)
    assert isinstance(value[0], Opaque)
    assert value[0].state == {"a": 1}
    assert value[1] == Named(__name__, "Strange")
    assert len(opaque) == 2
    assert "not built" in repr(value[0])
    assert "not imported" in repr(value[1])
