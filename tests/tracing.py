"""What the coverage floors trace: three rooms' own tests, and rules that a guard's tests judge by.

Under a tracer torch's own Python, which no floor is about, takes up to three times as long.
"""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

FLOORED_ROOMS = ("core", "detect", "ledger")
_HERE = Path(__file__).parent
_paused: list[Callable[..., Any]] = []


def has_floor(path: Path) -> bool:
    """Whether a test file belongs to a room that must be covered."""
    return path.is_relative_to(_HERE) and path.relative_to(_HERE).parts[0] in FLOORED_ROOMS


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Take the tracer out, in the rooms that have no floor.

    It counts calls and returns: whoever takes it out must put it back from the same frame.
    """
    tracer, of_threads = sys.gettrace(), threading.gettrace()
    if tracer is None or has_floor(item.path):
        return (yield)
    sys.settrace(None)
    threading.settrace(None)
    _paused.append(tracer)
    try:
        return (yield)
    finally:
        _paused.pop()
        threading.settrace(of_threads)
        sys.settrace(tracer)


def trace_rules(rules: Iterable[type]) -> None:
    """Have what ``rules`` do traced from now on in tests that are not, when anything is traced at all."""
    kinds = {kind for rule in rules for kind in rule.__mro__}
    for owner in (kind for kind in kinds if kind.__module__.startswith("veracity.detect")):
        for name in {"observe", "finish"} & set(vars(owner)):
            setattr(owner, name, _traced(vars(owner)[name]))


def _traced(judge: Callable[..., Iterable[Any]]) -> Callable[..., Iterator[Any]]:
    @functools.wraps(judge)
    def whole(*arguments: Any) -> Iterator[Any]:
        if not _paused or sys.gettrace() is not None:
            return iter(judge(*arguments))
        sys.settrace(_paused[-1])
        try:
            return iter([*judge(*arguments)])
        finally:
            sys.settrace(None)

    return whole
