"""What single programs are, and that any bytes give one."""

from __future__ import annotations

import io
import pickle
import pickletools
import random
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.observe.pickle.streams import ACTIONS, PUSHES, SHAPES, mutated, real_pickles
from veracity.core.pickleprogram import (
    MAX_KEPT,
    Build,
    Call,
    DictOf,
    End,
    Fill,
    Form,
    Global,
    Import,
    Kind,
    ListOf,
    Octets,
    Persistent,
    PersistentObject,
    PickleProgram,
    Result,
    Text,
)
from veracity.observe.pickle import Limits, walk, walk_all


def imports(program: PickleProgram) -> list[tuple[str, str]]:
    return [(one.value.module, one.value.name) for one in program.operations if isinstance(one, Import)]


def calls(program: PickleProgram) -> list[Call]:
    return [one for one in program.operations if isinstance(one, Call)]


def test_a_call_stands_with_its_arguments() -> None:
    program = walk(b"\x80\x04\x8c\x05named\x8c\x05thing\x93K\x07\x8c\x01a\x86R.")
    call = calls(program)[0]
    assert isinstance(call.callable, Global)
    assert (call.form, call.callable.name, call.arguments) == (Form.REDUCE, "thing", (7, "a"))
    assert isinstance(program.result, Result)
    assert program.result.call is call


@pytest.mark.parametrize(
    "tail", [b"", b"\xff", b"Q", b"0", b"h\x63", b"X\xff\xff\xff\x7f", b"\x8c", b"(((", b"I1"]
)
def test_what_ran_before_a_stream_breaks_is_there(tail: bytes) -> None:
    program = walk(b"cnamed\nthing\n(K\x01tR" + tail)
    assert imports(program) == [("named", "thing")]
    assert len(calls(program)) == 1
    assert program.ending.kind is not End.STOP


def test_old_names_are_mapped_by_old_protocols_only() -> None:
    assert imports(walk(b"c__builtin__\neval\n.")) == [("builtins", "eval")]
    assert imports(walk(b"\x80\x02c__builtin__\neval\n.")) == [("builtins", "eval")]
    assert imports(walk(b"\x80\x03c__builtin__\neval\n.")) == [("__builtin__", "eval")]
    assert imports(walk(b"\x80\x04c__builtin__\neval\n\x80\x02c__builtin__\neval\n.")) == [
        ("__builtin__", "eval"),
        ("builtins", "eval"),
    ]


def test_the_memo_takes_any_index_and_is_written_over() -> None:
    program = walk(b"Vnamed\np4294967295\n0Vother\np4294967295\n0Vthing\n\x940g4294967295\nh\x01\x93.")
    assert imports(program) == [("other", "thing")]


def test_memoize_counts_what_is_there() -> None:
    # Two indices are in use, so MEMOIZE takes the third, which is one of them, and it is written over.
    program = walk(b"\x8c\x05named\x940\x8c\x03oldq\x020\x8c\x05thing\x940h\x00h\x02\x93.")
    assert imports(program) == [("named", "thing")]


def test_pop_takes_a_mark_and_pop_mark_what_is_above() -> None:
    assert walk(b"K\x01(0.").result == 1
    assert walk(b"K\x01(K\x02K\x031.").result == 1
    assert walk(b"(K\x010.").ending.kind is End.ERROR


def test_obj_and_inst_call_although_their_result_is_dropped() -> None:
    assert [one.form for one in calls(walk(b"(cnamed\nthing\nK\x01o0N."))] == [Form.OBJ]
    assert [one.form for one in calls(walk(b"(K\x01inamed\nthing\n0N."))] == [Form.INST]


def test_stop_leaves_what_lies_below() -> None:
    program = walk(b"K\x01K\x02(K\x03.")
    assert (program.ending.kind, program.result, program.leftover) == (End.STOP, 3, 3)
    assert walk(b"(.").ending.kind is End.ERROR


def test_a_name_that_is_computed_is_said_to_be() -> None:
    program = walk(b"\x80\x04\x8c\x05named\x8c\x05thing\x93)R\x8c\x06system\x93)R.")
    last = [one.value for one in program.operations if isinstance(one, Import)][-1]
    assert last.computed
    assert len(calls(program)) == 2


def test_long_names_are_read_in_full() -> None:
    name = "thing" * 400
    program = walk(b"\x8c\x05namedX" + struct.pack("<I", len(name)) + name.encode() + b"\x93.")
    assert imports(program) == [("named", name)]


def test_targets_that_the_stream_did_not_make_are_written_down() -> None:
    program = walk(b"cnamed\nthing\n}b(K\x01eK\x02K\x03s]K\x01a}K\x01K\x02s0cnamed\nset\n(K\x01\x90.")
    assert [type(one) for one in program.operations] == [Import, Build, Fill, Fill, Import, Fill]


def test_persistent_ids() -> None:
    program = walk(b"(Vstorage\nK\x01tQPtext\n.")
    found = [one.value.identifier for one in program.operations if isinstance(one, Persistent)]
    assert found == [("storage", 1), "text"]
    assert isinstance(program.result, PersistentObject)


def test_extensions_and_buffers() -> None:
    program = walk(b"\x80\x05\x82\x07\x83\x01\x02\x97\x98.")
    assert [one.value.extension for one in program.operations if isinstance(one, Import)] == [7, 513]
    assert walk(b"\x82\x00.").ending.kind is End.ERROR
    assert walk(b"\x84\xff\xff\xff\xff.").ending.kind is End.ERROR


@pytest.mark.parametrize(
    ("line", "value"),
    [
        *(
            (b"I00\n", False),
            (b"I01\n", True),
            (b"I010\n", 8),
            (b"I0x1f\n", 31),
            (b"I-5\n", -5),
            (b"L7L\n", 7),
        ),
        *((b"L7\n", 7), (b"F-1e3\n", -1000.0), (b"S'a\\x41\\n\\'b'\n", "aA\n'b"), (b'S"\\101"\n', "A")),
        *(
            (b"V\\u00e9\n", "é"),
            (b"\x8a\x02\x00\x80", -32768),
            (b"J\xff\xff\xff\xff", -1),
            (b"M\xff\xff", 65535),
        ),
    ],
)
def test_scalars(line: bytes, value: object) -> None:
    found = walk(line + b".").result
    assert (type(found), found) == (type(value), value)


@pytest.mark.parametrize(
    "line",
    [b"Iten\n", b"F1x\n", b"Sab\n", b"S'\\x4'\n", b"V\\u12\n", b"X\x01\x00\x00\x00\xff", b"g9\n", b"p-1\n"],
)
def test_text_that_no_reader_takes(line: bytes) -> None:
    assert walk(line + b".").ending.kind is End.ERROR


def test_keys_that_cannot_be_hashed_end_it() -> None:
    for stream in (b"}]Ns.", b"}(]Nu.", b"\x8f(]\x90.", b"(]\x91.", b"(]Nd.", b"}]\x85Ns."):
        assert walk(stream).ending.kind is End.ERROR
    for stream in (b"}(\x91Ns.", b"}N\x85Ns.", b"}cnamed\nthing\nNs."):
        assert walk(stream).ending.kind is End.STOP


def test_long_values_are_left_where_they_are() -> None:
    data = pickle.dumps(["é" * 1000, b"x" * 5000, 1 << 40_000], 4)
    result = walk(data).result
    assert isinstance(result, ListOf)
    text, octets, number = result.items
    assert isinstance(text, Text)
    assert data[text.at : text.at + text.length].decode() == "é" * 1000
    assert isinstance(octets, Octets)
    assert data[octets.at : octets.at + octets.length] == b"x" * 5000
    assert isinstance(number, Octets)
    assert int.from_bytes(data[number.at : number.at + number.length], "little", signed=True) == 1 << 40_000


def test_containers_keep_some_children_and_the_kinds_of_all() -> None:
    result = walk(pickle.dumps([1] * 5000 + ["last"])).result
    assert isinstance(result, ListOf)
    assert (len(result.items), result.more) == (MAX_KEPT, 5001 - MAX_KEPT)
    assert result.kinds == Kind.INT | Kind.STR


def test_values_are_recorded_when_asked_for() -> None:
    program = walk(pickle.dumps({"a": list(range(5000))}, 2), record_values=True)
    assert isinstance(program.result, DictOf)
    inner = program.result.items[1]
    assert isinstance(inner, ListOf)
    assert inner.items == list(range(5000))
    assert sum(len(one.items) for one in program.operations if isinstance(one, Fill)) == 5000 + 2


def test_pickles_in_a_row() -> None:
    data = pickle.dumps([1], 2) + pickle.dumps({"a": 2}, 4) + pickle.dumps(3, 0)
    programs = list(walk_all(data))
    assert [one.ending.kind for one in programs] == [End.STOP] * 3
    assert sum(one.consumed for one in programs) == len(data)
    assert programs[2].result == 3
    assert [one.ending.kind for one in walk_all(pickle.dumps(1) + b"\x00rest")] == [End.STOP, End.ERROR]


class Counting:
    """An input that tells how much of it was read."""

    def __init__(self, parts: dict[int, bytes], size: int) -> None:
        self.parts, self.size, self.read_bytes = parts, size, 0

    def read(self, at: int, length: int) -> bytes:
        length = max(0, min(length, self.size - at))
        self.read_bytes += length
        out = bytearray(length)
        for start, data in self.parts.items():
            low, high = max(start, at), min(start + len(data), at + length)
            if low < high:
                out[low - at : high - at] = data[low - start : high - start]
        return bytes(out)


def test_a_payload_of_gigabytes_is_stepped_over() -> None:
    size = 1 << 33
    head, tail = b"\x80\x04\x8e" + struct.pack("<Q", size), b"cnamed\nthing\n)R."
    source = Counting({0: head, len(head) + size: tail}, len(head) + size + len(tail))
    program = walk(source)
    assert imports(program) == [("named", "thing")]
    assert program.ending.kind is End.STOP
    assert source.read_bytes < 1 << 20


@pytest.mark.parametrize(
    "place", [*range((1 << 18) - 2060, (1 << 18) - 2030), *range((1 << 18) - 20, (1 << 18) + 4)]
)
def test_opcodes_are_whole_across_windows(place: int) -> None:
    filling = b"N0" * (place // 2) + (b"N" if place % 2 else b"")
    program = walk(filling + b"\x8c\x05named\x8c\x05thing\x93(K\x01X\x03\x00\x00\x00abctRcother\nthing\n.")
    assert program.ending.kind is End.STOP
    assert imports(program) == [("named", "thing"), ("other", "thing")]
    assert calls(program)[0].arguments == (1, "abc")


def test_bounds_end_it_and_say_so() -> None:
    assert walk(b"N" * 1_000_000, limits=Limits(walked=1 << 19)).ending.kind is End.LIMIT
    assert walk(b"}" * 600_000, limits=Limits(memory=1 << 24)).ending.kind is End.LIMIT
    assert walk(b"(" * 600_000).ending.kind is End.LIMIT


def test_frames_that_are_kept_to_leave_no_doubt() -> None:
    for one in real_pickles():
        assert [doubt for doubt in walk(one).doubts if doubt.kind == "frame"] == []
    big = pickle.dumps([str(number) * 9 for number in range(30_000)] + [b"x" * 200_000], 5)
    program = walk(big)
    assert (program.ending.kind, program.doubts, program.others) == (End.STOP, (), ())


def straddling(payload: bytes) -> bytes:
    """A pickle in which an argument's length stands half inside of a frame of two bytes."""
    frame = b"\x95" + struct.pack("<Q", 2) + b"B\x07"
    hidden = bytes(2) + payload.ljust(256, b"N") + b"N" * 5
    return b"\x80\x04(" + frame + b"\x01\x00\x00" + hidden + b"1N."


def test_an_opcode_that_reaches_out_of_its_frame_has_two_readings() -> None:
    program = walk(straddling(b"cnamed\nthing\n)R"))
    assert [one.kind for one in program.doubts] == ["frame"]
    assert imports(program) == []
    assert [imports(one) for one in program.others] == [[("named", "thing")]]


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_give_a_program(data: bytes) -> None:
    check_total(data)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(PUSHES + ACTIONS + SHAPES), max_size=40), st.binary(max_size=8))
def test_any_opcodes_give_a_program(parts: list[bytes], tail: bytes) -> None:
    check_total(b"".join(parts) + tail)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(real_pickles()), st.integers(0, 1 << 30))
def test_any_damage_gives_a_program(data: bytes, seed: int) -> None:
    check_total(mutated(random.Random(seed), data))


def check_total(data: bytes) -> None:
    program = walk(data)
    assert 0 <= program.consumed <= len(data)
    recorded = walk(data, record_values=True)
    assert recorded.ending == program.ending
    kept = [one for one in recorded.operations if not isinstance(one, Fill)]
    assert len(kept) == len([one for one in program.operations if not isinstance(one, Fill)])
    if program.ending.kind is End.STOP and program.leftover == 0 and not program.doubts:
        names = {opcode.name for opcode, _, _ in pickletools.genops(io.BytesIO(data))}
        assert bool(names & {"GLOBAL", "STACK_GLOBAL", "INST", "EXT1", "EXT2", "EXT4"}) == any(
            isinstance(one, Import) for one in program.operations
        )
