"""A graph holds an operator that runs code or touches files.

## The law

Load: nothing that can execute is loaded. A graph computes with tensors.

## What breaks it

``WriteFile`` in a TensorFlow model writes whatever the graph says, ``PyFunc`` calls Python, a saver whose
path stands in the graph overwrites a file, and so does one that prints to an address in it. A ``PythonOp``
of ONNX calls Python, and an operator of a domain that nobody knows is native code, which a model's readme
asks its users to load.

## How it is checked

All nodes are read: of the graph, of its functions, and of graphs in attributes. Operators that run code or
write are errors, those that read files by themselves too. That each TensorFlow model can save and restore
itself is nothing, as long as the path comes from the caller. Domains of ONNX other than those of the
standard, of ONNX Runtime, of exporters and of makers of hardware are warnings, unless the model defines
the operator by others.

## What fools it

An operator under an ordinary name for which a library with other code is loaded.

## What to do

Do not run the model. Export it anew from weights and source.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import ClassVar

from ....core.coverage import Coverage
from ....core.finding import Evidence, Finding, Location, finding_of
from ....core.observation import Observation, OperatorAsked
from ....core.rule import Confidence, Rule, Severity

_PYTHON = re.compile(r"(Eager)?Py_?(Func|Func_?Stateless|Op|CustomOp)|PythonOp(Grad)?")
_WRITES = frozenset({"WriteFile", "LoadLibrary", "Rpc", "TryRpc", "RpcCall", "DumpTensor", "CopyFile"})
_READS = frozenset(
    {
        *("ReadFile", "MatchingFiles", "WholeFileReader", "WholeFileReaderV2", "SqlDataset"),
        *("TextLineReader", "TextLineReaderV2", "TFRecordReader", "TFRecordReaderV2"),
        *("FixedLengthRecordReader", "FixedLengthRecordReaderV2", "LMDBReader"),
    }
)
_KNOWN_DOMAIN = re.compile(
    r"|ai\.onnx(\..*)?|com\.microsoft(\..*)?|com\.ms\..*|org\.pytorch(\..*)?|pkg\..*|onnxscript.*"
    r"|(com\.)?(nvidia|intel|amd|qti|qualcomm|xilinx|arm|hailo|tensorrt|tensorflow|openvino)(\..*)?|trt(\..*)?"
    r"|org\.openvinotoolkit(\..*)?|mmdeploy|mmcv|paddle(\..*)?|quantlib|qonnx(\..*)?|brevitas(\..*)?"
)


class Operator:
    """One finding for each kind of operator."""

    rule: ClassVar[Rule] = Rule(
        "checkpoint-operator",
        "load",
        "A graph holds an operator that runs code or touches files",
        Severity.ERROR,
        Confidence.HIGH,
    )
    takes: ClassVar[tuple[type[Observation], ...]] = (OperatorAsked,)

    def __init__(self) -> None:
        self._coverage = Coverage(self.rule.law, "kinds of operators")

    def observe(self, observation: Observation) -> Iterator[Finding]:
        """Judge one kind of operator."""
        if not isinstance(observation, OperatorAsked):
            return
        one = observation
        self._coverage.count(checked=True)
        why, severity = _why(one)
        if why:
            named = f"{one.domain}::{one.operator}" if one.domain else one.operator
            yield finding_of(
                self.rule,
                one.name,
                f"the graph in {one.name} holds {named}, which {why}",
                locations=(Location(one.name),),
                evidence=(Evidence(one.where, observed=named),),
                severity=severity,
                confidence=Confidence.MEDIUM if severity is Severity.WARNING else None,
            )

    def finish(self) -> Iterator[Finding]:
        """Nothing is left for the end."""
        return iter(())

    def coverage(self) -> Coverage:
        """Kinds of operators in graphs."""
        return self._coverage


def _why(one: OperatorAsked) -> tuple[str, Severity]:
    if one.how == "function":
        return "", Severity.NOTE
    if _PYTHON.fullmatch(one.operator):
        return "calls Python", Severity.ERROR
    if one.format == "onnx":
        known = _KNOWN_DOMAIN.fullmatch(one.domain)
        return ("" if known else "only a library of somebody's own can execute"), Severity.WARNING
    if one.operator in _WRITES:
        return "writes files, loads libraries or calls other hosts", Severity.ERROR
    if one.operator in _READS:
        return "reads files by itself", Severity.ERROR
    if one.how == "address":
        return "writes to a place that stands in the graph", Severity.ERROR
    if one.how == "fixed":
        return "works on a file whose path stands in the graph", Severity.ERROR
    return "", Severity.NOTE
