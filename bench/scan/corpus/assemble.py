"""Pickles put together opcode by opcode, so that they can hold what ``pickle.dumps`` would never write.

A value to push is a *node*: a plain value, a :class:`Name` (a global), a :class:`Call`, or :class:`Raw`
opcodes. Opcodes are those of ``pickletools``; nothing here imports or calls what it names.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

STOP = b"."
FORMS = ("reduce", "inst", "obj")


@dataclass(frozen=True, slots=True)
class Name:
    """A global."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a global, or of what another call returned."""

    function: Node
    arguments: tuple[Node, ...] = ()


@dataclass(frozen=True, slots=True)
class Raw:
    """Opcodes that leave one value on the stack."""

    opcodes: bytes


Node: TypeAlias = "None | bool | int | float | str | bytes | tuple[Node, ...] | list[Node] | dict[str, Node] | Name | Call | Raw"


def start(protocol: int) -> bytes:
    """What a stream of ``protocol`` begins with; PROTO is there from 2 on."""
    return b"\x80" + bytes([protocol]) if protocol >= 2 else b""


def stream(node: Node, protocol: int = 2) -> bytes:
    """A whole pickle of one node."""
    return start(protocol) + push(node, protocol) + STOP


def push(node: Node, protocol: int = 2) -> bytes:
    """Opcodes that leave ``node`` on the stack."""
    if isinstance(node, Raw):
        return node.opcodes
    if isinstance(node, Name):
        return named(node, protocol)
    if isinstance(node, Call):
        return push(node.function, protocol) + push(node.arguments, protocol) + b"R"
    if isinstance(node, (tuple, list, dict)):
        return _container(node, protocol)
    return _scalar(node, protocol)


def named(name: Name, protocol: int) -> bytes:
    """A global: STACK_GLOBAL from protocol 4 on, else GLOBAL."""
    if protocol >= 4:
        return _scalar(name.module, protocol) + _scalar(name.name, protocol) + b"\x93"
    return by_global(name)


def by_global(name: Name) -> bytes:
    """GLOBAL, whatever the protocol."""
    return f"c{name.module}\n{name.name}\n".encode()


def called(name: Name, arguments: Sequence[Node], protocol: int, form: str) -> bytes:
    """A call by REDUCE, INST or OBJ (a member of FORMS)."""
    several = b"".join(push(one, protocol) for one in arguments)
    if form == "inst":
        return b"(" + several + f"i{name.module}\n{name.name}\n".encode()
    if form == "obj":
        return b"(" + named(name, protocol) + several + b"o"
    return push(Call(name, tuple(arguments)), protocol)


def _container(node: tuple[Node, ...] | list[Node] | dict[str, Node], protocol: int) -> bytes:
    if isinstance(node, dict):
        pairs = (push(key, protocol) + push(value, protocol) for key, value in node.items())
        return b"(" + b"".join(pairs) + b"d"
    several = b"".join(push(one, protocol) for one in node)
    if isinstance(node, tuple) and protocol >= 2 and len(node) <= 3:
        return several + {0: b")", 1: b"\x85", 2: b"\x86", 3: b"\x87"}[len(node)]
    return b"(" + several + (b"t" if isinstance(node, tuple) else b"l")


def _scalar(node: None | bool | int | float | str | bytes, protocol: int) -> bytes:
    if node is None:
        return b"N"
    if isinstance(node, bool):
        if protocol >= 2:
            return b"\x88" if node else b"\x89"
        return b"I01\n" if node else b"I00\n"
    if isinstance(node, int):
        return _integer(node, protocol)
    if isinstance(node, float):
        return b"G" + struct.pack(">d", node) if protocol else f"F{node!r}\n".encode()
    if isinstance(node, str):
        return _text(node, protocol)
    if protocol < 3:
        # As pickle itself does: there were no bytes apart from text in these protocols.
        return push(Call(Name("_codecs", "encode"), (node.decode("latin-1"), "latin1")), protocol)
    return b"B" + struct.pack("<I", len(node)) + node


def _integer(number: int, protocol: int) -> bytes:
    if protocol and 0 <= number < 256:
        return b"K" + bytes([number])
    if protocol and -(1 << 31) <= number < 1 << 31:
        return b"J" + struct.pack("<i", number)
    return b"L%dL\n" % number if abs(number) >> 31 else b"I%d\n" % number


def _text(text: str, protocol: int) -> bytes:
    if protocol == 0:
        escaped = text.replace("\\", "\\u005c").replace("\n", "\\u000a")
        return b"V" + escaped.encode("raw-unicode-escape") + b"\n"
    data = text.encode("utf-8", "surrogatepass")
    if protocol >= 4 and len(data) < 256:
        return b"\x8c" + bytes([len(data)]) + data
    return b"X" + struct.pack("<I", len(data)) + data
