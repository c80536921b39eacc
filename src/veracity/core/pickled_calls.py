"""Which globals a pickle calls, beside those that it only names, by following its stack without running it.

An honest file may name any function (``defaultdict(len)`` holds one), and calls those that rebuild data.
"""

from __future__ import annotations

import pickletools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import IO

MAX_OPERATIONS = 2_000_000
MAX_PICKLES = 16
_MARK = object()
_CALLING = {"REDUCE": 2, "NEWOBJ": 2, "NEWOBJ_EX": 3}
_NAMING = ("GLOBAL", "INST")
Name = tuple[str, str]


@dataclass(slots=True)
class _Machine:
    """A stack that holds names of globals, texts, marks, and None for everything else."""

    stack: list[object] = field(default_factory=list)
    memo: dict[object, object] = field(default_factory=dict)
    called: set[Name] = field(default_factory=set)

    def take(self, operation: pickletools.OpcodeInfo, argument: object) -> None:
        """One operation."""
        name = operation.name
        made: object = None
        if name in _CALLING and len(self.stack) >= _CALLING[name]:
            self._call(self.stack[-_CALLING[name]])
        if name in _NAMING:
            made = _named(argument)
        elif name == "STACK_GLOBAL" and len(self.stack) > 1:
            made = tuple(self.stack[-2:]) if all(isinstance(one, str) for one in self.stack[-2:]) else None
        elif isinstance(argument, str) and "UNICODE" in name:
            made = argument
        elif "GET" in name:
            made = self.memo.get(argument)
        if name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            self.memo[len(self.memo) if name == "MEMOIZE" else argument] = (
                self.stack[-1] if self.stack else None
            )
            return
        arguments = self._pop(operation)
        if name == "OBJ" and arguments:
            self._call(arguments[0])
        if name == "INST":
            self._call(made)
            made = None
        top = arguments[-1] if name == "DUP" and arguments else made
        self.stack += [_MARK if one is pickletools.markobject else top for one in operation.stack_after]

    def _call(self, what: object) -> None:
        if isinstance(what, tuple):
            self.called.add(what)

    def _pop(self, operation: pickletools.OpcodeInfo) -> Sequence[object]:
        """What the operation takes from the stack, without the mark."""
        before = list(operation.stack_before)
        taken: list[object] = []
        marked = pickletools.markobject in before
        if marked or (operation.name == "POP" and self.stack and self.stack[-1] is _MARK):
            while self.stack and self.stack[-1] is not _MARK:
                taken.insert(0, self.stack.pop())
            if self.stack:
                self.stack.pop()
            before = before[: before.index(pickletools.markobject)] if marked else []
        count = min(len(before), len(self.stack))
        if count:
            taken = self.stack[-count:] + taken
            del self.stack[-count:]
        return taken


def calls_in(stream: IO[bytes]) -> set[Name]:
    """The globals that the pickles at the beginning of ``stream`` call.

    Names are as they are written there. What is no pickle ends it, so the calls before that are known.
    """
    machine = _Machine()
    done = 0
    try:
        for _ in range(MAX_PICKLES):
            machine.stack.clear()
            machine.memo.clear()
            for operation, argument, _place in pickletools.genops(stream):
                machine.take(operation, argument)
                done += 1
                if done >= MAX_OPERATIONS:
                    return machine.called
    except (ValueError, IndexError, KeyError, UnicodeDecodeError, OverflowError):
        return machine.called
    return machine.called


def _named(argument: object) -> object:
    """``module name`` as it is written in old pickles."""
    words = argument.split(" ", 1) if isinstance(argument, str) else []
    return (words[0], words[1]) if len(words) == 2 else None
