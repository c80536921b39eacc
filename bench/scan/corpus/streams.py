"""Streams that scanners read otherwise than the unpickler runs them.

What an unpickler does is done operation by operation: whatever stands behind a call cannot undo it. So each
of these has a call that ran by the time the oddity is met, or one that an odd reading of the stream hides.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from .assemble import STOP, Call, Name, by_global, named, push, start, stream
from .gadgets import TRUE
from .sample import Sample

SYSTEM = Name("os", "system")
# Each leaves one value on the stack; the first at any protocol from 2 on.
RUN = push(Call(SYSTEM, (TRUE,)), 2)
RUN_4 = push(Call(SYSTEM, (TRUE,)), 4)
OTHERS = {"name-mapped": "__builtin__.eval", "protocol-inside": "os.path.os.system"}


def streams() -> Iterator[Sample]:
    """All samples of this module."""
    for group, bypass, cases in (
        (_broken(), 5, "broken"),
        (_hidden(), 4, "hidden"),
        (_differing(), 8, "differing"),
    ):
        for word, data in group.items():
            names = OTHERS.get(word, str(SYSTEM))
            yield Sample(f"{cases}-{word}", bypass, "pickle", names, {"model.pkl": data})
    yield from _several_in_a_row()
    yield from _nested()


def _broken() -> dict[str, bytes]:
    """The call, and then something that no reader can go on after."""
    begin = start(2) + RUN
    return {
        "no-stop": begin,
        "unknown-opcode": begin + b"\xff" + STOP,
        "unknown-opcode-0": begin + b"\x00" * 40,
        "cut-in-text": begin + b"X\xff\x00\x00\x00abc",
        "cut-in-length": begin + b"X\xff\x00",
        "cut-in-global": begin + b"cjson",
        "negative-length": begin + b"T\xff\xff\xff\xff" + b"x" * 30 + STOP,
        "huge-length": begin + b"\x8e" + struct.pack("<Q", 1 << 62) + STOP,
        "huge-long": begin + b"\x8b" + struct.pack("<i", (1 << 31) - 1) + STOP,
        "negative-long": begin + b"\x8b" + struct.pack("<i", -5) + STOP,
        "huge-memo-index": begin + b"r\xff\xff\xff\x7f" + STOP,
        "large-memo-index": start(2) + b"Nr\xff\xff\x0f\x000" + RUN + STOP,
        "no-such-memo": begin + b"h\x63" + STOP,
        "stack-underflow": begin + b"000000" + STOP,
        "no-mark": begin + b"t" + STOP,
        "not-utf8": begin + b"X\x04\x00\x00\x00\xff\xfe\xfd\xfc" + STOP,
        "bad-escape": begin + b"S'\\x'\n" + STOP,
        "bad-quotes": begin + b"Sabc\n" + STOP,
        "trailing-quotes": begin + b"S'true' \n" + STOP,
        "bad-integer": begin + b"Inot a number\n" + STOP,
        "bad-float": begin + b"Fnot a number\n" + STOP,
        "protocol-later": begin + b"\x80\x63" + STOP,
        "no-buffers": start(5) + RUN_4 + b"\x97" + STOP,
        "persistent-id": begin + b"Pnobody\n" + STOP,
        "extension-unknown": begin + b"\x82\xf0" + STOP,
        "append-to-nothing": begin + b"Na" + STOP,
        "build-on-nothing": begin + b"NNb" + STOP,
        "newobj-of-none": begin + b"N)\x81" + STOP,
        "call-of-none": begin + b"N)R" + STOP,
        "unhashable-key": begin + b"}]Ns" + STOP,
        "frame-too-long": start(4) + RUN_4 + b"\x95" + struct.pack("<Q", 1 << 40) + STOP,
        "empty-global": begin + b"c\n\n" + STOP,
    }


def _hidden() -> dict[str, bytes]:
    """The call's result is thrown away, or its parts come by ways that a simple reading loses."""
    clean = push({"epoch": 3})
    head = start(2)
    by_obj = b"(" + by_global(SYSTEM) + push(TRUE) + b"o"
    by_inst = b"(" + push(TRUE) + b"ios\nsystem\n"
    return {
        "reduce-pop": head + RUN + b"0" + clean + STOP,
        "obj-pop": head + by_obj + b"0" + clean + STOP,
        "inst-pop": head + by_inst + b"0" + clean + STOP,
        "pop-mark": head + b"(" + RUN + b"1" + clean + STOP,
        "under-result": head + RUN + clean + STOP,
        "under-marks": head + b"(((" + RUN + clean + STOP,
        "memo-redefined": head
        + b"X\x04\x00\x00\x00jsonq\x000"
        + by_global(SYSTEM)
        + b"q\x000h\x00"
        + push((TRUE,))
        + b"R.",
        "memo-swapped": start(4)
        + b"\x8c\x05countq\x010\x8c\x06systemq\x010\x8c\x02os\x68\x01\x93"
        + push((TRUE,))
        + b"R.",
        "memo-of-global": head + by_global(SYSTEM) + b"q\x050" + clean + b"0h\x05" + push((TRUE,)) + b"R.",
        "memo-of-arguments": head + push((TRUE,)) + b"q\x010" + by_global(SYSTEM) + b"h\x01R.",
        "dup-callable": head + by_global(SYSTEM) + b"2" + push((TRUE,)) + b"R0" + push((TRUE,)) + b"R.",
        "dup-arguments": head + push((TRUE,)) + b"2" + b"00" + by_global(SYSTEM) + push((TRUE,)) + b"R.",
        "arguments-by-marks": head + by_global(SYSTEM) + b"((1" + push(TRUE) + b"tR.",
        "arguments-by-items": head + by_global(SYSTEM) + b"(" + push(TRUE) + b"l0" + push((TRUE,)) + b"R.",
        "in-key": head + b"}(" + RUN + push("weight") + b"u.",
        "in-set": start(4) + b"\x8f(" + RUN_4 + b"\x90.",
        "in-frozenset": start(4) + b"(" + RUN_4 + b"\x91.",
        "in-persistent-id": head + RUN + b"Q.",
        "in-state": head + b"cargparse\nNamespace\n)\x81}" + push("x") + RUN + b"sb.",
        "in-buffer": start(5) + b"\x96" + struct.pack("<Q", 4) + b"true\x98" + RUN_4 + STOP,
        "after-many-memos": head
        + b"".join(b"Nr" + struct.pack("<I", n) + b"0" for n in range(3000))
        + RUN
        + STOP,
        "after-long-text": head + push("x" * 300_000) + b"0" + RUN + STOP,
        "after-many-opcodes": head + b"N0" * 200_000 + RUN + STOP,
        "between-opcodes-in-text": head + push("cos\ngetpid\n)R.") + b"0" + RUN + STOP,
        "looks-like-stop": head + push("." * 64) + b"0" + RUN + STOP,
        "opcodes-of-text": b"(S'weight'\nI1\ndp0\n0cos\nsystem\n(S'true'\ntR.",
        "crlf-name": b"cos\nsystem\n(Vtrue\r\ntR.",
    }


def _differing() -> dict[str, bytes]:
    """Where unpicklers, versions of one, and ``pickletools`` differ; CPython's C unpickler runs each call."""
    frame = b"\x95"
    head = start(4)
    size = len(RUN_4)
    return {
        "frame-ends-in-argument": head + frame + struct.pack("<Q", 5) + RUN_4 + STOP,
        "frame-of-nothing": head + frame + struct.pack("<Q", 0) + RUN_4 + STOP,
        "frame-in-frame": head
        + frame
        + struct.pack("<Q", size + 10)
        + frame
        + struct.pack("<Q", size)
        + RUN_4
        + STOP,
        "frame-ends-before-stop": head + frame + struct.pack("<Q", size) + RUN_4 + STOP,
        "frame-over-stop": head + frame + struct.pack("<Q", size + 1) + RUN_4 + STOP + b"rest",
        "frame-in-old-protocol": start(2) + frame + struct.pack("<Q", size + 1) + RUN_4 + STOP,
        "frames-of-one": head
        + b"".join(frame + struct.pack("<Q", 1) + b"N" + b"0" for _ in range(20))
        + RUN_4
        + STOP,
        "stack-left": start(2) + b"NNN" + RUN + STOP,
        "marks-left": start(2) + b"((N" + RUN + STOP,
        # Of Python 2: an error, but for programs that load with encoding="latin1" or "bytes", as for old checkpoints.
        "encoding-of-texts": start(2) + b"U\x04\xff\xfe\xfd\xfc0" + RUN + STOP,
        "protocol-twice": start(2) + start(4) + RUN_4 + STOP,
        "protocol-inside": b"N0" + start(4) + b"cos\npath.os.system\n" + push((TRUE,)) + b"R.",
        "protocol-down": start(5) + start(0) + RUN + STOP,
        "no-protocol": RUN_4 + STOP,
        "integer-hexadecimal": b"I0x1f\n0" + RUN + STOP,
        "integer-octal": b"I010\n0" + RUN + STOP,
        "integer-spaced": b"I 7\n0" + RUN + STOP,
        "long-underscores": b"L1_0L\n0" + RUN + STOP,
        "memo-underscores": by_global(SYSTEM) + b"p1_0\n0g10\n" + push((TRUE,)) + b"R.",
        "memo-spaced": by_global(SYSTEM) + b"p 3\n0g3\n" + push((TRUE,)) + b"R.",
        "boolean-odd": b"I01\n0I00\n0" + RUN + STOP,
        "long-of-nothing": start(2) + b"\x8a\x000" + RUN + STOP,
        "put-again": start(2) + b"Nq\x000" + by_global(SYSTEM) + b"q\x000h\x00" + push((TRUE,)) + b"R.",
        "memoize-over-put": start(4) + b"Nq\x010\x8c\x02os\x94\x8c\x06system\x930" + RUN_4 + STOP,
        "name-mapped": start(2) + b"c__builtin__\neval\n" + push(("0",)) + b"R.",
    }


def _several_in_a_row() -> Iterator[Sample]:
    """A program that loads twice from one file gets the second; scanners stop at the first."""
    clean = stream({"epoch": 3}, 2)
    bad = start(2) + RUN + STOP
    rows = {
        "second": clean + bad,
        "third": clean + clean + bad,
        "after-other-protocol": stream({"epoch": 3}, 0) + stream({"epoch": 3}, 4) + bad,
        "then-garbage": bad + bytes(range(256)),
        "then-clean": bad + clean,
        "twentieth": clean * 19 + bad,
    }
    for word, data in rows.items():
        yield Sample(f"row-{word}", 4, "pickle", str(SYSTEM), {"model.pkl": data})


def _nested() -> Iterator[Sample]:
    """Pickles in the bytes of pickles."""
    inner = start(2) + RUN + STOP
    loads = Name("pickle", "loads")
    for depth in range(1, 5):
        inner = stream(Call(loads, (inner,)), 3)
        yield Sample(f"nested-{depth}", 9, "pickle", str(loads), {"model.pkl": inner})
    from_bytes = Name("torch.storage", "_load_from_bytes")
    bad = start(2) + RUN + STOP
    for protocol in (2, 4):
        data = stream({"weight": Call(from_bytes, (bad,))}, protocol)
        yield Sample(f"nested-storage-{protocol}", 9, "pickle", str(from_bytes), {"model.pkl": data})
    numpy_object = Name("numpy.core.multiarray", "_reconstruct")
    array = named(numpy_object, 2) + push((Name("numpy", "ndarray"), (0,), b"b"), 2) + b"R"
    dtype = push(Call(Name("numpy", "dtype"), ("O8", False, True)))
    state = b"(K\x01K\x01\x85" + dtype + b"\x89]" + RUN + b"atb"
    yield Sample(
        "nested-object-array", 9, "pickle", str(SYSTEM), {"model.pkl": start(2) + array + state + STOP}
    )
