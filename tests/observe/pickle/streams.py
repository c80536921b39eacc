"""Random pickles: streams of opcodes that keep the stack mostly right, and real ones with bytes changed."""

from __future__ import annotations

import collections
import datetime
import decimal
import pickle
import random

PUSHES = [
    *(b"N", b"\x88", b"\x89"),
    *(b"K\x07", b"K\x00", b"M\x01\x02", b"J\xff\xff\xff\xff", b"I01\n", b"I00\n"),
    *(b"I7\n", b"L5L\n", b"L5\n", b"F1.5\n", b"G?\xf8\x00\x00\x00\x00\x00\x00", b"\x8a\x01\x05", b"\x8a\x00"),
    *(b"\x8b\x01\x00\x00\x00\x05", b"S'ab'\n", b'S"a\\x41b"\n', b"T\x02\x00\x00\x00ab", b"U\x01a"),
    *(b"Vab\n", b"V\\u0041\n", b"X\x01\x00\x00\x00a", b"\x8c\x01b", b"\x8d\x01\x00\x00\x00\x00\x00\x00\x00b"),
    *(b"B\x01\x00\x00\x00b", b"C\x01b", b"\x8e\x01\x00\x00\x00\x00\x00\x00\x00b"),
    *(b"\x96\x01\x00\x00\x00\x00\x00\x00\x00b", b")", b"]", b"}", b"\x8f", b"cm\nn\n"),
    *(b"c__builtin__\nset\n", b"ccopy_reg\n_reconstructor\n", b"Pid\n", b"\x8c\x01m\x8c\x01n\x93"),
]
ACTIONS = [
    *(
        b"(",
        b"(",
        b"(",
        b"0",
        b"1",
        b"2",
        b"a",
        b"e",
        b"s",
        b"u",
        b"\x90",
        b"t",
        b"l",
        b"d",
        b"\x91",
        b"\x85",
    ),
    *(b"\x86", b"\x87", b"R", b"R", b"o", b"im\nn\n", b"\x81", b"\x92", b"b", b"Q", b"\x93", b"\x94"),
    *(b"q\x00", b"q\x01", b"r\x02\x00\x00\x00", b"p3\n", b"h\x00", b"h\x01", b"j\x02\x00\x00\x00", b"g3\n"),
    *(b"\x80\x02", b"\x80\x04", b"\x80\x05", b"\x97", b"\x98", b"\x82\x01"),
    *(b"\x95\x05\x00\x00\x00\x00\x00\x00\x00", b"\x95\x02\x00\x00\x00\x00\x00\x00\x00"),
]
SHAPES = [
    *(b"cm\nn\n)R", b"cm\nn\n(K\x01tR", b"(cm\nn\nK\x01o", b"(K\x01im\nn\n", b"cm\nn\n)\x81"),
    *(b"cm\nn\n)}\x92", b"cm\nn\n)R}b", b"](K\x01K\x02e", b"}(K\x01K\x02u", b"\x8f(K\x01\x90", b"(K\x01\x91"),
    *(b"cm\nn\n(K\x01e", b"(K\x01K\x02d", b"cm\nn\nK\x01K\x02s", b"cm\nn\n(K\x01\x90", b"K\x01Q", b"]K\x01a"),
    *(b"(lp0\nI1\na", b"(K\x01l", b"}q\x00h\x00s"),
]


def opcode_stream(chance: random.Random) -> bytes:
    """A stream of opcodes; most end in STOP."""
    parts = [b"\x80" + bytes([chance.choice((2, 3, 4, 5))])] if chance.random() < 0.7 else []
    for _ in range(chance.randrange(1, 25)):
        parts.append(chance.choice(chance.choices((PUSHES, ACTIONS, SHAPES), (5, 4, 3))[0]))
    return b"".join(parts) + (b"." if chance.random() < 0.9 else b"")


class _Plain:
    def __init__(self) -> None:
        self.one = [1, 2, {"a": (1, 2.5)}]


Point = collections.namedtuple("Point", "x y")
_DAY = datetime.datetime(2026, 1, 2, 3, 4, tzinfo=datetime.timezone.utc)
_OBJECTS: list[object] = [
    {
        "weights": [1.0, 2.5, -3e300],
        "step": 10**30,
        "name": "é",
        "raw": b"\x00\xff",
        "none": None,
        "yes": True,
    },
    collections.OrderedDict([("a", 1), ("b", [1, 2, 3])]),
    [_DAY, decimal.Decimal("1.5"), {1, 2}, frozenset({3}), bytearray(b"xy"), 1 + 2j],
    *(
        _Plain(),
        Point(1, "two"),
        collections.defaultdict(list, a=[1]),
        list(range(30)),
        ["same"] * 5,
        (((),),),
    ),
]


def real_pickles() -> list[bytes]:
    """Of various objects, in all protocols."""
    return [pickle.dumps(one, protocol) for one in _OBJECTS for protocol in range(6)]


def mutated(chance: random.Random, data: bytes) -> bytes:
    """A pickle with some bytes changed, left out or doubled."""
    changed = bytearray(data)
    for _ in range(chance.randrange(1, 4)):
        at = chance.randrange(len(changed))
        way = chance.randrange(4)
        if way == 0:
            changed[at] = chance.randrange(256)
        elif way == 1:
            del changed[at : at + chance.randrange(1, 4)]
        elif way == 2:
            changed[at:at] = chance.choice(PUSHES + ACTIONS + SHAPES)
        else:
            changed[at:at] = changed[max(0, at - 6) : at]
        if not changed:
            changed += b"."
    return bytes(changed)
