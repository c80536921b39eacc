"""Arrays of numpy: what is a pickle is read, what are numbers is stepped over exactly, as numpy does."""

from __future__ import annotations

import io
import pickle
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from tests.observe.archive.looking import look
from veracity.observe.numpyheader import item_size, parse_header

DTYPES = [
    "?", "i1", "<i2", ">i4", "u8", "f2", "f4", "f8", "f16", "c8", "c16", "c32", "S7", "U5", "V9", "M8[ns]",
    "m8[25s]",
    [("a", "i4"), ("b", "f8")], [("a", "i4", (2, 3)), ("b", [("c", "U2"), ("d", "?", 4)])],
    [(("title", "name"), "f4")], np.dtype([("a", "i1"), ("b", "f8")], align=True),
]  # fmt: skip


def saved(array: object) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def described(descr: str, shape: str) -> str:
    return f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n"


def with_header(text: str, data: bytes = b"") -> bytes:
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode("latin-1") + data


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 5)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_numbers_are_stepped_over_exactly(dtype: Any, shape: tuple[int, ...], order: Any) -> None:
    array: Any = np.zeros(shape, dtype, order=order)

    looked = look(saved(array) + b"and behind")

    assert looked.result.status == "clean"
    assert "npy" in looked.result.formats
    assert looked.contents["behind"] == [b"and behind"]
    assert "data" not in looked.contents


@pytest.mark.parametrize("dtype", ["O", [("a", "i4"), ("b", "O")], [("a", [("b", "O", 2)], (3,))]], ids=str)
def test_objects_are_a_pickle_that_is_read(dtype: Any) -> None:
    array: Any = np.zeros(2, dtype)

    looked = look(saved(array))

    (objects,) = looked.contents["objects"]
    assert str(pickle.loads(objects)) == str(array)


OBJECTS = [
    "'O'", "'|O'", "'|O8'", "'object'", "'O,i4'", "'i4,O'", "'(2,)O'", "'\\x4f'", "('O', 3)", "[('a', 'O')]",
    "'=O'",
]  # fmt: skip


@pytest.mark.parametrize("descr", OBJECTS)
def test_each_way_to_write_objects_is_read(descr: str) -> None:
    payload = pickle.dumps("inert")
    looked = look(with_header(described(descr, "(1,)"), payload))
    assert payload in looked.all


@pytest.mark.parametrize(
    "descr", ["'<f4'", "'|u1'", "'M8[ns]'", "[('a', '<f4'), ('b', '|S3')]", "('<f4', (2,))"]
)
def test_sizes_are_those_of_numpy(descr: str) -> None:
    parsed = parse_header(described(descr, "(5, 2)").replace("False", "True"))
    dtype = np.lib.format.descr_to_dtype(eval(descr))
    assert parsed is not None
    assert parsed.size == dtype.itemsize * 10
    assert parsed.fortran


def test_what_is_damaged_is_read_as_far_as_it_goes_and_never_clean() -> None:
    whole = saved(np.arange(100.0))

    assert look(whole[:300]).result.status == "incomplete"
    assert look(whole[:50]).result.status == "incomplete"
    assert look(b"\x93NUMPY\x09\x00" + whole[8:]).result.status == "incomplete"
    assert look(b"\x93NUMPY\x02\x00" + struct.pack("<I", 1 << 30)).limits
    broken = look(with_header("{'descr': __import__('os')}\n", b"rest"))
    assert broken.result.status == "incomplete"
    assert broken.contents["data"] == [b"rest"]


def test_an_npz_is_a_zip_of_them() -> None:
    file = io.BytesIO()
    np.savez_compressed(file, a=np.arange(5), b=np.array([None, "x"], dtype=object))

    looked = look(file.getvalue())

    assert looked.result.status == "clean"
    assert set(looked.contents) == {"a.npy", "b.npy", "b.npy!objects"}


@given(st.text(max_size=60))
@settings(max_examples=examples(200))
def test_any_header_is_parsed_or_refused(text: str) -> None:
    parse_header(text)
    parse_header("{'descr': " + text + ", 'fortran_order': False, 'shape': (3,)}")
    parse_header("[" * 5000 + text)
    parse_header("(" * 10 + text + ",)" * 10)


@given(st.text(alphabet="<>|=?biufcmMSaUVO0123456789,()[]' sndt", max_size=12), st.integers(0, 3))
@settings(max_examples=examples(300))
def test_what_numpy_makes_of_a_text_is_never_longer_nor_an_object(text: str, count: int) -> None:
    descr = "'" + text.replace("'", "") + "'"
    file = io.BytesIO(with_header(described(descr, f"({count},)"), bytes(999)))
    parsed = parse_header(described(descr, f"({count},)"))
    try:
        array = np.lib.format.read_array(file, allow_pickle=False)
    except Exception as error:
        if "Object arrays" in str(error):
            assert parsed is None or parsed.size is None
        return
    assert parsed is None or parsed.size in (None, array.nbytes)


def test_a_literal_of_another_kind_is_no_size() -> None:
    assert item_size({"a": 1}) is None
    assert item_size(None) is None
    assert item_size(()) is None
    assert item_size(("<f4", "x")) is None
