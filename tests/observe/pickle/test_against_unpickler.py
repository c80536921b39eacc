"""The machine beside the C unpickler itself, on streams that name nothing which exists."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.observe.pickle.streams import mutated, opcode_stream, real_pickles
from veracity.core.pickleprogram import (
    Build,
    ByteArray,
    Call,
    End,
    Fill,
    Form,
    Global,
    Import,
    ListOf,
    Persistent,
    PersistentObject,
    PickleProgram,
    Result,
)
from veracity.observe.pickle import walk

CHILD = Path(__file__).with_name("unpickling.py")
Event = list[object]


def events_of(program: PickleProgram) -> list[Event]:
    """The operations of a program as the child tells them."""
    events: list[Event] = []
    for one in program.operations:
        if isinstance(one, Import):
            events.append(["import", *one.value.written])
        elif isinstance(one, Persistent):
            events.append(["persistent"])
        elif isinstance(one, Call):
            events.append(["call", len(one.arguments) if isinstance(one.arguments, tuple) else -1])
        elif isinstance(one, Build) and isinstance(one.target, (Result, Global, PersistentObject)):
            events.append(["build"])
        elif isinstance(one, Fill) and not isinstance(one.target, (ListOf, ByteArray)):
            count = len(one.items) + one.more
            if one.form in (Form.SETITEM, Form.SETITEMS):
                events += [["set"]] * (count // 2)
            elif one.form is Form.ADDITEMS:
                events += [["add"]] * count
            else:
                events.append(["fill", count])
    return events


def unpickled(streams: list[bytes], *flags: str) -> list[tuple[str, list[Event]]]:
    done = subprocess.run(
        [sys.executable, str(CHILD), *flags],
        input="".join(f"{one.hex()}\n" for one in streams),
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    return [(ended, events) for ended, events in map(json.loads, done.stdout.splitlines())]


def differences(streams: list[bytes], *flags: str) -> list[str]:
    """Where what the unpickler did is not what the machine says that it would do."""
    found = []
    for data, (ended, events) in zip(streams, unpickled(streams, *flags), strict=True):
        program = walk(data)
        ours = events_of(program)
        readings = [ours, *map(events_of, program.others)]
        if not any(one[: len(events)] == events for one in readings):
            found.append(f"{data!r}: {ended or 'ended'} after {events}, not {readings}")
        elif not ended and program.ending.kind is not End.STOP and not program.others:
            found.append(f"{data!r}: loads, but {program.ending}")
        elif not ended and events not in readings:
            found.append(f"{data!r}: did {events}, not {readings}")
    return found


def test_what_the_c_unpickler_does_the_machine_says() -> None:
    chance = random.Random(20260801)
    real = real_pickles()
    streams = [opcode_stream(chance) for _ in range(6_000)]
    streams += real + [mutated(chance, chance.choice(real)) for _ in range(3_000)]
    assert differences(streams) == []


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(20))
def test_many_more_streams(seed: int) -> None:
    chance = random.Random(seed)
    real = real_pickles()
    streams = [opcode_stream(chance) for _ in range(20_000)]
    streams += [mutated(chance, chance.choice(real)) for _ in range(20_000)]
    assert differences(streams) == []
