"""ONNX models: which operators they hold, and which files their tensors lie in.

A model is a graph of nodes, with graphs in the attributes of nodes, functions of its own, and tensors. A
tensor may lie in another file, at a path relative to the model; the first loaders did not look where that
path leads (CVE-2022-25882). An operator of a domain that is not the standard's is native code, or Python,
that the loading program must bring.

Schema: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto (numbers of fields below are from there).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

from ...core.errors import ResourceLimitError
from ...core.observation import FileAsked, Observation, OperatorAsked
from ...core.origin import Origin, monitor_origin
from ...core.quantity import quantity
from ..artifact.budget import Budget
from ..artifact.input import Input
from ..artifact.reading import Nested
from .wire import BYTES, NUMBER, Message, Wire, bodies, has, top_level

MAX_NESTING = 60
MAX_SAID = 10_000
_EXTERNAL = 1


class OnnxReader:
    """Models of ONNX."""

    name: ClassVar[str] = "onnx"
    has_signature: ClassVar[bool] = False

    def claims(self, head: bytes, whole: Input) -> bool:
        """Whether its fields are those of a ModelProto with a version and a graph."""
        if not head or head[0] & 7 not in (0, 1, 2, 3, 5):
            return False
        fields = top_level(whole)
        if not (has(fields, 1, wire=NUMBER) and has(fields, 7)):
            return False
        return any(one.start == one.end or top_level(whole, one) for one in bodies(whole, 7))

    def read(self, whole: Input, budget: Budget) -> Iterator[Observation | Nested]:
        """Operators and files; raises EvidenceError where it is no sound protocol buffer."""
        reading = _Reading(Wire(whole, budget), whole.name)
        wire = reading.wire
        for one in wire.fields(wire.all()):
            if one.field == 25 and one.wire == BYTES:
                reading.define(one.body)
        for one in wire.fields(wire.all()):
            if one.wire != BYTES:
                continue
            if one.field == 7:
                reading.graph(one.body, 0)
            elif one.field == 20:
                for graph in wire.fields(one.body):
                    if graph.field in (1, 2) and graph.wire == BYTES:
                        reading.graph(graph.body, 0)
            elif one.field == 25:
                reading.function(one.body)
            yield from reading.said()
        yield from reading.said()


@dataclass(slots=True)
class _Reading:
    wire: Wire
    name: str
    operators: dict[tuple[str, str], int] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    defined: set[tuple[str, str]] = field(default_factory=set)
    origin: Origin = field(default_factory=lambda: monitor_origin(time.time_ns(), source="scan"))
    _told: set[object] = field(default_factory=set)

    def said(self) -> Iterator[Observation]:
        """What was found since it was last asked."""
        for (domain, operator), times in self.operators.items():
            if (domain, operator) not in self._told:
                self._told.add((domain, operator))
                yield OperatorAsked(
                    self.origin, self.name, quantity(times, "node"), "onnx", domain, operator,
                    "function" if (domain, operator) in self.defined else "",
                )  # fmt: skip
        for path, tensor in self.files.items():
            if path not in self._told:
                self._told.add(path)
                yield FileAsked(self.origin, self.name, f"the tensor {tensor[:100]!r}", "onnx", path)

    def define(self, body: Message) -> None:
        """A function of the model's own: name 1, domain 10."""
        name = domain = ""
        for one in self.wire.fields(body):
            if one.field == 1 and one.wire == BYTES:
                name = self.wire.text(one.body)
            elif one.field == 10 and one.wire == BYTES:
                domain = self.wire.text(one.body)
        self.defined.add((domain, name))

    def function(self, body: Message) -> None:
        """Its nodes 7, and defaults of attributes 11."""
        for one in self.wire.fields(body):
            if one.wire == BYTES and one.field == 7:
                self._node(one.body, 0)
            elif one.wire == BYTES and one.field == 11:
                self._attribute(one.body, 0)

    def graph(self, body: Message, depth: int) -> None:
        """Nodes 1, tensors 5, sparse tensors 15."""
        if depth > MAX_NESTING:
            raise ResourceLimitError("has graphs nested deeper than is read", where=self.name)
        for one in self.wire.fields(body):
            if one.wire != BYTES:
                continue
            if one.field == 1:
                self._node(one.body, depth)
            elif one.field == 5:
                self._tensor(one.body)
            elif one.field == 15:
                self._sparse(one.body)

    def _node(self, body: Message, depth: int) -> None:
        """Operator 4, attributes 5, domain 7."""
        operator = domain = ""
        for one in self.wire.fields(body):
            if one.wire != BYTES:
                continue
            if one.field == 4:
                operator = self.wire.text(one.body)
            elif one.field == 7:
                domain = self.wire.text(one.body)
            elif one.field == 5:
                self._attribute(one.body, depth)
        key = (domain[:200], operator[:200])
        if key in self.operators or len(self.operators) < MAX_SAID:
            self.operators[key] = self.operators.get(key, 0) + 1
        else:
            raise ResourceLimitError("has more kinds of operators than are read", where=self.name)

    def _attribute(self, body: Message, depth: int) -> None:
        """Tensors 5 and 10, graphs 6 and 11, sparse tensors 22 and 23."""
        for one in self.wire.fields(body):
            if one.wire != BYTES:
                continue
            if one.field in (5, 10):
                self._tensor(one.body)
            elif one.field in (6, 11):
                self.graph(one.body, depth + 1)
            elif one.field in (22, 23):
                self._sparse(one.body)

    def _sparse(self, body: Message) -> None:
        for one in self.wire.fields(body):
            if one.field in (1, 2) and one.wire == BYTES:
                self._tensor(one.body)

    def _tensor(self, body: Message) -> None:
        """Name 8, external data 13 (key 1, value 2), where its data lies 14."""
        name = location = ""
        external = False
        for one in self.wire.fields(body):
            if one.field == 8 and one.wire == BYTES:
                name = self.wire.text(one.body)
            elif one.field == 14 and one.wire == NUMBER:
                external = one.number == _EXTERNAL
            elif one.field == 13 and one.wire == BYTES:
                key, value = self._entry(one.body)
                location = value if key == "location" else location
        if location and external:
            if len(self.files) >= MAX_SAID:
                raise ResourceLimitError("names more files than are read", where=self.name)
            self.files.setdefault(location[:1000], name)

    def _entry(self, body: Message) -> tuple[str, str]:
        key = value = ""
        for one in self.wire.fields(body):
            if one.field == 1 and one.wire == BYTES:
                key = self.wire.text(one.body)
            elif one.field == 2 and one.wire == BYTES:
                value = self.wire.text(one.body)
        return key, value
