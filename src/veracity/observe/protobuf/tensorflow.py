"""TensorFlow graphs: SavedModel, MetaGraph (``.meta``), frozen graphs, and the metadata of Keras beside them.

A graph is executed by the loader's runtime, operator by operator; some operators read and write files, load
libraries or call Python. Each model can save itself, so operators that save and restore are in all of them:
they take the path from whoever calls, and a path that stands in the graph is told.

Schemas: ``tensorflow/core/protobuf/{saved_model,meta_graph}.proto``, ``tensorflow/core/framework/{graph,
node_def,function}.proto`` and ``third_party/…/keras_metadata.proto`` (numbers of fields below).
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import ClassVar

from ...core.errors import ResourceLimitError
from ...core.observation import Observation, OperatorAsked
from ...core.origin import Origin, monitor_origin
from ..artifact.budget import Budget
from ..artifact.input import Input
from ..artifact.reading import Nested
from ..document.jsonreader import said
from ..document.jsontext import NotJsonError, parse_json
from ..document.saying import Saying
from .wire import BYTES, NUMBER, Field, Message, Wire, bodies, has, top_level

MAX_SAID = 20_000
MAX_NODES = 5_000_000
MAX_TRIED = 100
"""Parts that are tried before a message is taken for something else."""
_OPERATOR = re.compile(r"[A-Za-z_>][\w>/-]*\Z")
_PATHS = {"SaveV2": 0, "Save": 0, "SaveSlices": 0, "RestoreV2": 0, "Restore": 0, "MergeV2Checkpoints": 1}
"""Operators that work on a path, which an honest graph is handed, and which of their inputs that is."""
_PRINTS = re.compile(r"PrintV2|Debug\w+")
_ADDRESS = re.compile(r"(?i)(file|grpc|https?)://")
MAX_ATTRIBUTE = 1 << 16


class TensorflowReader:
    """Graphs of TensorFlow in each of the messages that files hold."""

    name: ClassVar[str] = "tensorflow"
    has_signature: ClassVar[bool] = False

    def claims(self, head: bytes, whole: Input) -> bool:
        """Whether its fields are those of one of the messages, down to a node or an object of Keras."""
        if not head or head[0] not in _FIRST:
            return False
        return bool(_kind(whole))

    def read(self, whole: Input, budget: Budget) -> Iterator[Observation | Nested]:
        """Operators, and what metadata of Keras asks for; raises EvidenceError."""
        reading = _Reading(Wire(whole, budget), whole)
        kind = _kind(whole)
        if kind == "graph":
            reading.graph(reading.wire.all())
        elif kind == "meta":
            yield from reading.meta(reading.wire.all())
        else:
            for one in reading.wire.fields(reading.wire.all()):
                if one.wire == BYTES:
                    yield from reading.part(kind, one)
        yield from reading.said()


_FIRST = frozenset({0x08, 0x0A, 0x12, 0x1A, 0x22, 0x2A, 0x32, 0x3A})


def _kind(whole: Input) -> str:
    """``saved``, ``meta``, ``graph`` or ``keras``; empty for anything else.

    Of fields that stand several times each is tried, since a reader joins them.
    """
    fields = top_level(whole)
    everything = Message(0, whole.size)
    if has(fields, 1, wire=NUMBER) and any(_is_meta(whole, one) for one in bodies(whole, 2)):
        return "saved"
    if _is_graph(whole, everything):
        return "graph"
    if any(_is_metadata(whole, one) for one in bodies(whole, 1)):
        return "keras"
    return "meta" if _is_meta(whole, everything) else ""


def _is_meta(whole: Input, body: Message) -> bool:
    return any(_is_graph(whole, one) for one in bodies(whole, 2, body))


def _is_graph(whole: Input, body: Message) -> bool:
    """Whether its nodes have names and operators, or those of its functions do."""
    if not top_level(whole, body):
        return False
    if any(_is_node(whole, one) for one in islice(bodies(whole, 1, body), MAX_TRIED)):
        return True
    functions = (one for library in bodies(whole, 2, body) for one in bodies(whole, 1, library))
    nodes = (node for one in islice(functions, MAX_TRIED) for node in bodies(whole, 3, one))
    return any(_is_node(whole, one) for one in islice(nodes, MAX_TRIED))


def _is_node(whole: Input, body: Message) -> bool:
    node = top_level(whole, body)
    return has(node, 1, 2) and _OPERATOR.match(Wire(whole).text(node[2, BYTES].body)) is not None


def _is_metadata(whole: Input, body: Message) -> bool:
    first = top_level(whole, body)
    return has(first, 3, 4) and Wire(whole).text(first[4, BYTES].body).startswith("_tf_keras")


@dataclass(slots=True)
class _Reading:
    wire: Wire
    whole: Input
    operators: dict[tuple[str, str], str] = field(default_factory=dict)
    nodes: int = 0
    origin: Origin = field(default_factory=lambda: monitor_origin(time.time_ns(), source="scan"))

    def part(self, kind: str, one: Field) -> Iterator[Observation | Nested]:
        """One field of a SavedModel, or of the metadata of Keras."""
        if kind == "saved" and one.field == 2:
            yield from self.meta(one.body)
        elif kind == "keras" and one.field == 1:
            for text in self.wire.parts(one.body, 5):
                yield from self._metadata(self.wire.text(text), "metadata")

    def said(self) -> Iterator[Observation]:
        """Each kind of operator once."""
        for (operator, how), where in self.operators.items():
            yield OperatorAsked(self.origin, self.whole.name, where, "tensorflow", "", operator, how)

    def meta(self, body: Message) -> Iterator[Observation | Nested]:
        """MetaGraphDef: graph 2, object graph 7."""
        for one in self.wire.fields(body):
            if one.wire == BYTES and one.field == 2:
                self.graph(one.body)
            elif one.wire == BYTES and one.field == 7:
                yield from self._objects(one.body)

    def graph(self, body: Message) -> None:
        """GraphDef: nodes 1, library 2."""
        self._nodes(self.wire.parts(body, 1), "graph")
        for library in self.wire.parts(body, 2):
            self._library(library)

    def _library(self, body: Message) -> None:
        """FunctionDefLibrary: functions 1, each with a signature 1 (name 1) and nodes 3."""
        for function in self.wire.parts(body, 1):
            name = ""
            for signature in self.wire.parts(function, 1):
                name = next((self.wire.text(one) for one in self.wire.parts(signature, 1)), "")
            self._nodes(self.wire.parts(function, 3), f"function {name[:100]}")

    def _nodes(self, nodes: Iterator[Message], where: str) -> None:
        """NodeDef: name 1, operator 2, inputs 3; which of them is a constant."""
        constants: set[str] = set()
        paths: list[tuple[str, str]] = []
        for node in nodes:
            name = operator = ""
            inputs: list[str] = []
            for one in self.wire.fields(node):
                if one.wire != BYTES or one.field not in (1, 2, 3):
                    continue
                if one.field == 1:
                    name = self.wire.text(one.body)
                elif one.field == 2:
                    operator = self.wire.text(one.body)
                elif len(inputs) < 2:
                    inputs.append(self.wire.text(one.body))
            self.nodes += 1
            if self.nodes > MAX_NODES:
                raise ResourceLimitError("has more nodes than are read", where=self.whole.name)
            if _PRINTS.fullmatch(operator) and self._has_address(node):
                self._add(operator, "address", where)
            if operator == "Const":
                constants.add(name)
            at = _PATHS.get(operator, len(inputs))
            if at < len(inputs):
                paths.append((operator, inputs[at].partition(":")[0]))
            self._add(operator, "", where)
        for operator, path in paths:
            if path in constants:
                self._add(operator, "fixed", where)

    def _has_address(self, node: Message) -> bool:
        """Whether an attribute 5 of a node that prints, or tells a debugger, says where to."""
        for attribute in self.wire.parts(node, 5):
            text = self.whole.read(attribute.start, min(attribute.end - attribute.start, MAX_ATTRIBUTE))
            if _ADDRESS.search(text.decode("latin-1")):
                return True
        return False

    def _add(self, operator: str, how: str, where: str) -> None:
        if len(self.operators) >= MAX_SAID:
            raise ResourceLimitError("has more kinds of operators than are read", where=self.whole.name)
        self.operators.setdefault((operator[:200], how), where)

    # --- Keras -----------------------------------------------------------------------------------

    def _objects(self, body: Message) -> Iterator[Observation | Nested]:
        """SavedObjectGraph: nodes 1, of which a user's object 4 has metadata 3."""
        for node in self.wire.parts(body, 1):
            for user in self.wire.parts(node, 4):
                for text in self.wire.parts(user, 3):
                    yield from self._metadata(self.wire.text(text), "object graph")

    def _metadata(self, text: str, inside: str) -> Iterator[Observation | Nested]:
        try:
            root = parse_json(text, self.whole.name)
        except NotJsonError:
            return
        yield from said(root, Saying(self.whole.name, inside, self.whole.depth))
