"""Formats that are known by their beginning and not read: said, so that nobody takes them for clean.

Each of them is opened by a program that does more with it than to take numbers: custom operators, scripts,
objects that are unpacked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import ClassVar

from ..core.errors import EvidenceError
from ..core.observation import Observation
from .artifact.budget import Budget
from .artifact.input import Input
from .artifact.reading import Nested
from .protobuf.wire import NUMBER, has, top_level

_XML = re.compile(
    rb"(\xef\xbb\xbf)?\s*(<\?xml[^>]*>\s*)?(<!--.{0,2000}?-->\s*)*<(!DOCTYPE\s+)?([A-Za-z_:]+)", re.DOTALL
)
_R = (b"RDX2\n", b"RDX3\n", b"RDA2\n", b"RDA3\n", b"X\n\0\0\0\2", b"X\n\0\0\0\3")
_JAVA = b"\xac\xed\0\5"
_CORE_ML_TYPES = range(200, 3_000)


def _root(head: bytes) -> bytes:
    found = _XML.match(head)
    return found[5].rpartition(b":")[2] if found else b""


def _is_openvino(head: bytes, whole: Input) -> bool:
    return _root(head) == b"net" and b"<layer" in head


def _is_core_ml(head: bytes, whole: Input) -> bool:
    if head[:1] != b"\x08":
        return False
    fields = top_level(whole)
    return has(fields, 1, wire=NUMBER) and has(fields, 2) and any(one in _CORE_ML_TYPES for one, _ in fields)


_FORMATS: tuple[tuple[str, Callable[[bytes, Input], bool]], ...] = (
    ("a TFLite model, whose custom operators are native code", lambda head, _: head[4:8] == b"TFL3"),
    ("an ONNX Runtime model (.ort)", lambda head, _: head[4:8] == b"ORTM"),
    ("a PMML model, which may hold scripts", lambda head, _: _root(head) == b"PMML"),
    ("an OpenVINO model, whose layers may be native code", _is_openvino),
    ("a Core ML model, whose layers may be native code", _is_core_ml),
    ("R data, which R executes parts of while it unpacks them", lambda head, _: head.startswith(_R)),
    ("a Java object, which runs methods while it is unpacked", lambda head, _: head.startswith(_JAVA)),
    ("an ExecuTorch program", lambda head, _: head[4:6] == b"ET" and head[6:8].isdigit()),
)


class RecognisedReader:
    """Knows formats that no reader here reads."""

    name: ClassVar[str] = "unread format"
    has_signature: ClassVar[bool] = True

    def claims(self, head: bytes, whole: Input) -> bool:
        """Whether it is one of them."""
        return bool(_name(head, whole))

    def read(self, whole: Input, budget: Budget) -> Iterator[Observation | Nested]:
        """Raises EvidenceError that says which format it is."""
        yield from ()
        raise EvidenceError(
            f"is {_name(whole.read(0, 4096), whole)}; this format is known and not read",
            where=whole.name,
            remedy="look at it with a tool of its own, or leave it out with --exclude",
        )


def _name(head: bytes, whole: Input) -> str:
    return next((name for name, is_one in _FORMATS if is_one(head, whole)), "")
