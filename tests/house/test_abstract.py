"""What a class leaves to others is abstract: a class without it cannot be made, and all know at once."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from veracity.detect.rules.code.reading import SourceDetector
from veracity.detect.rules.update.adaptive import Adaptive
from veracity.observe.archive.compressed import CompressedReader
from veracity.observe.metrics.lines import Lines
from veracity.seal.nodes import Reading

SOURCES = Path(__file__).resolve().parents[2] / "src" / "veracity"


def stubs_in(source: str) -> Iterator[int]:
    """Lines that raise NotImplementedError."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Raise) and node.exc is not None:
            raised = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
            if ast.unparse(raised) == "NotImplementedError":
                yield node.lineno


def test_no_method_waits_to_be_called_to_say_that_it_is_missing() -> None:
    found = [f"{path}:{line}" for path in SOURCES.rglob("*.py") for line in stubs_in(path.read_text("utf-8"))]
    assert found == []
    assert list(stubs_in("raise NotImplementedError\nraise NotImplementedError('x')")) == [1, 2]


@pytest.mark.parametrize("frame", [Adaptive, CompressedReader, Lines, Reading, SourceDetector])
def test_a_class_that_leaves_something_out_cannot_be_made(frame: type) -> None:
    assert frame.__abstractmethods__  # type: ignore[attr-defined]
    with pytest.raises(TypeError, match="abstract"):
        type("Half", (frame,), {})()
