"""A child process: unpickles harmless streams with the C unpickler and tells what it asked for.

Nothing is imported or executed: ``find_class`` answers with inert stand-ins that are classes, so that
they can be called, made, filled and set in every way that an opcode knows. Streams come as lines of hex.
"""

from __future__ import annotations

import _pickle
import io
import json
import resource
import sys

events: list[list[object]] = []
MAX_EVENTS = 10_000


def note(*what: object) -> None:
    if len(events) >= MAX_EVENTS:
        raise RuntimeError("too many events")
    events.append(list(what))


class StandIn(type):
    """A class that stands for any object."""

    def __call__(cls, *args: object, **kwargs: object) -> StandIn:
        note("call", len(args))
        return stand_in()

    def __setstate__(cls, state: object) -> None:
        note("build")

    def extend(cls, items: list[object]) -> None:
        note("fill", len(items))

    def add(cls, item: object) -> None:
        note("add")

    def __setitem__(cls, key: object, value: object) -> None:
        note("set")


def stand_in() -> StandIn:
    def new(cls: StandIn, *args: object, **kwargs: object) -> StandIn:
        note("call", len(args))
        return stand_in()

    return StandIn("S", (), {"__new__": new})


class Reader(_pickle.Unpickler):
    def find_class(self, module: str, name: str) -> StandIn:
        note("import", module, name)
        return stand_in()

    def persistent_load(self, identifier: object) -> StandIn:
        note("persistent")
        return stand_in()


class WithoutPeek(io.BytesIO):
    """As torch hands a record over: a file of which nothing is read ahead."""


def main() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for line in sys.stdin:
        events.clear()
        data = bytes.fromhex(line)
        try:
            Reader(io.BufferedReader(io.BytesIO(data)) if "--peek" in sys.argv else WithoutPeek(data)).load()
            ended = ""
        except BaseException as error:
            ended = f"{type(error).__name__}: {error}"[:100]
        print(json.dumps([ended, events]), flush=True)


if __name__ == "__main__":
    main()
