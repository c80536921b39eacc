"""What the gate's reader takes for pickles, and what it leaves to others."""

from __future__ import annotations

import pickle
import random

import pytest

from veracity.core.observation import PickleRead
from veracity.observe.artifact.budget import Budget
from veracity.observe.artifact.input import Input
from veracity.observe.artifact.reading import Nested
from veracity.observe.pickle.reader import PickleReader

READER = PickleReader()


def read(data: bytes) -> tuple[list[PickleRead], list[bytes]]:
    whole = Input.of_bytes("file!member", data)
    if not READER.claims(data[:4096], whole):
        return [], []
    found = list(READER.read(whole, Budget()))
    nested = [one.input.read(0, one.input.size) for one in found if isinstance(one, Nested)]
    return [one for one in found if isinstance(one, PickleRead)], nested


@pytest.mark.parametrize("protocol", range(6))
def test_pickles_of_all_protocols_are_taken(protocol: int) -> None:
    for value in (1, None, "text", [1, {"a": (2.5, b"raw")}], {"long": "x" * 10_000}):
        pickles, nested = read(pickle.dumps(value, protocol))
        assert [one.path for one in pickles] == ["file!member"]
        assert nested == []


@pytest.mark.parametrize(
    "data",
    [
        *(b"cos\nsystem\n(Vx\ntR", b"cnamed\nthing\n)R\xff", b"(Vx\nios\nsystem\n", b"(cnamed\nthing\no0"),
        *(b"cos\nsystem\n\xff\xff", b"\x80\x04", b"\x80\x04\x95\x00\x00", pickle.dumps([1] * 500, 4)[:300]),
    ],
)
def test_what_breaks_after_it_has_acted_or_begun_is_taken(data: bytes) -> None:
    assert len(read(data)[0]) == 1


@pytest.mark.parametrize(
    "data",
    [
        *(
            b"",
            b"import os\nos.system('x')\n",
            b'{"key": [1, 2]}',
            b"(function() { return 1; })()\n",
            b"PK\x03\x04",
        ),
        *(
            b"cat\ndog\nbird\n",
            b"colorama\nrequests\nnumpy\n",
            b"Python is great\nand so on\n",
            b"Version 1.0\n",
        ),
        *(
            b"channels:\n  - conda\n",
            b"1,2,3\n4,5,6\n",
            b"\x89PNG\r\n\x1a\n",
            b"GGUF\x03\x00\x00\x00",
            b"%PDF-1.4\n",
        ),
        *(
            b"[section]\nkey = 1\n",
            b"# Title\n\nText.\n",
            b"<html></html>",
            b"\x7fELF\x02\x01",
            b"NUMPY",
            b"I\n",
        ),
        b"\x80\x01\x1d\x06\x00\x00%!PS-AdobeFont-1.0: Font",
        b"The quick brown fox\n" * 500,
        b"Lorem ipsum\n" * 2000,
    ],
)
def test_other_files_are_left_alone(data: bytes) -> None:
    assert read(data) == ([], [])


def test_several_in_a_row_and_what_comes_behind() -> None:
    first, second = pickle.dumps([1], 2), pickle.dumps({"a": 2}, 4)
    pickles, nested = read(first + second + b"PK\x03\x04rest")
    assert [one.program.start for one in pickles] == [0, len(first)]
    assert nested == [b"PK\x03\x04rest"]


def test_plain_texts_behind_a_pickle_are_no_pickles() -> None:
    pickles, nested = read(pickle.dumps([1], 2) + b"\nsome text\n")
    assert len(pickles) == 1
    assert nested == [b"\nsome text\n"]


def test_pickles_that_do_nothing_count_when_something_comes_of_them() -> None:
    assert len(read(b"N.N.cos\nsystem\n(Vx\ntR.")[0]) == 3
    assert len(read(b"N.I1\n.")[0]) == 2
    assert read(b"N.more text") == ([], [])
    assert len(read(b"N." * 3000 + b"cos\nsystem\n(Vx\ntR.")[0]) == 3001


def test_numbers_are_hardly_ever_taken_for_pickles() -> None:
    numbers = random.Random(7)
    taken = [one for one in range(3000) if read(numbers.randbytes(600))[0]]
    assert taken == []
