"""The guard's walk: calls are told from names, and are those that the gate's machine tells."""

from __future__ import annotations

import io
import itertools
import pickle
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from tests.observe.pickle.streams import ACTIONS, PUSHES, SHAPES, mutated, real_pickles
from veracity.core.pickled_calls import MAX_NAME, MAX_PICKLES, Name, calls_in
from veracity.core.pickleprogram import Call, End, Global, PickleProgram
from veracity.observe.pickle import walk_all


class _Calls:
    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return print, ("marked",)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_calls_are_told_from_names(protocol: int) -> None:
    builtins = "__builtin__" if protocol < 3 else "builtins"
    document = {"kept": [print, len], "a": (1, [2, {3: {4}}]), "made": _Calls(), "again": b"x" * 300}
    data = pickle.dumps(document, protocol)
    assert (builtins, "print") in calls_in(io.BytesIO(data))
    assert (builtins, "len") not in calls_in(io.BytesIO(data))
    assert (builtins, "print") in calls_in(io.BytesIO(pickle.dumps(1) + data + b"no pickle"))


@pytest.mark.parametrize(
    "data",
    [
        b"(c__builtin__\nprint\nS'a'\no.",
        b"(S'a'\ni__builtin__\nprint\n.",
        b"\x80\x04S'__builtin__'\nS'pr\\x69nt'\n\x93)R.",
        b"\x80\x04U\x0b__builtin__T\x05\x00\x00\x00print\x93)R.",
        b"\x80\x04V__builtin__\np7\n0g7\nV\\u0070rint\n\x93)\x81.",
        b"\x80\x04\x8c\x0b__builtin__\x94(1h\x00\x8c\x05print\x932\x850)}\x92.",
    ],
)
def test_a_name_is_known_however_it_is_written(data: bytes) -> None:
    assert calls_in(io.BytesIO(data)) == {("__builtin__", "print")}


class _Sparing(io.BytesIO):
    def read(self, size: int | None = -1, /) -> bytes:
        assert size is not None
        assert 0 <= size <= MAX_NAME
        return super().read(size)


def test_payloads_are_stepped_over() -> None:
    data = pickle.dumps([b"x" * 100_000, "y" * 100_000, bytearray(100_000), _Calls()], 5)
    assert calls_in(_Sparing(data)) == {("builtins", "print")}
    for claimed in (b"\xff" * 8, (1 << 47).to_bytes(8, "little")):
        assert calls_in(_Sparing(b"cm\nn\n)R\x8e" + claimed + b"cm\no\n)R.")) == {("m", "n")}


@given(st.binary(max_size=200))
@settings(max_examples=examples(200))
def test_any_bytes_are_taken_for_a_pickle(data: bytes) -> None:
    calls_in(io.BytesIO(data))
    calls_in(io.BytesIO(pickle.dumps([print, {1: "a"}])[:-1] + data))


# --- beside the machine ----------------------------------------------------------------------------

NAMED = [
    *(
        b"ca\nb\n",
        b"ca\nc\n)R",
        b"\x8c\x01a\x8c\x01d\x93",
        b"U\x01aX\x01\x00\x00\x00e\x93",
        b"S'a'\nVf\n\x93",
    ),
    *(b"(ca\ng\no", b"(ia\nh\n", b"ca\nj\n)\x81", b"ca\nk\n)}\x92", b"ca\nl\n\x94", b"h\x00)R", b"g3\n)R"),
]
PIECES = st.one_of(*(st.sampled_from(pieces) for pieces in (NAMED, PUSHES, ACTIONS, SHAPES)))
STREAMS = st.one_of(
    st.builds(
        lambda announced, pieces, stop: announced + b"".join(pieces) + stop,
        st.sampled_from([b"", b"\x80\x02", b"\x80\x04"]),
        st.lists(PIECES, max_size=25),
        st.sampled_from([b".", b".", b"", b".cm\nn\n)R."]),
    ),
    st.builds(
        lambda seed, data: mutated(random.Random(seed), data), st.integers(), st.sampled_from(real_pickles())
    ),
    st.sampled_from(real_pickles()),
)


def programs(data: bytes) -> list[PickleProgram]:
    """What the machine makes of the pickles that the walk looks at, without joblib's arrays."""
    found = itertools.islice(walk_all(data), MAX_PICKLES)
    return [next((one for one in whole.others if one.reading == "plain"), whole) for whole in found]


def called(program: PickleProgram) -> set[Name]:
    """The globals, as they are written in the stream, that a program calls."""
    made = [one.callable for one in program.operations if isinstance(one, Call)]
    return {one.written for one in made if isinstance(one, Global) and not (one.extension or one.computed)}


@given(STREAMS)
@settings(max_examples=examples(600), deadline=None)
def test_the_walk_and_the_machine_tell_the_same_calls(data: bytes) -> None:
    told = calls_in(io.BytesIO(data))
    found = programs(data)
    by_machine = set().union(*map(called, found))
    # Where the unpickler fails the walk may go on; never does it stop before.
    assert by_machine <= told
    if all(one.ending.kind is End.STOP for one in found):
        assert told == by_machine
