"""Files of lines: JSON objects, separated values, and MLflow's file store.

A line is read when its end is there; the last, unfinished one waits. Lines that are no rows of numbers are
passed over: programs write other things into such files too.
"""

from __future__ import annotations

import csv
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping

from ...core.observation import LoggedValue
from .number import reading

MAX_LINE = 1 << 20
MAX_KEYS = 64
MAX_NAME = 100
STEP_KEYS = (
    "step", "global_step", "_step", "train_step", "trainer/global_step", "iteration", "iter", "steps", "it",
    "update", "num_updates",
)  # fmt: skip
"""What programs call the number of the step beside their values, the usual ones first."""

SORT_KEYS = ("split", "phase", "mode", "stage", "type", "set", "kind", "event", "name", "tag")
"""Columns that tell rows of one sort (train) from rows of another (val): part of a series' name."""


class Lines(ABC):
    """Cuts what is appended into lines."""

    whole = False

    def __init__(self) -> None:
        self.damaged = ""
        self._rest = b""
        self._too_long = False

    def feed(self, data: bytes) -> Iterator[LoggedValue]:
        """The numbers on the lines that ``data`` completes."""
        *lines, rest = (self._rest + data).split(b"\n")
        for line in lines:
            if self._too_long or len(line) > MAX_LINE:
                self._too_long = False
                continue
            yield from self.row(line.decode("utf-8", "replace").strip("\r\ufeff "))
        if len(rest) > MAX_LINE:
            self._too_long, rest = True, b""
        self._rest = rest

    @abstractmethod
    def row(self, line: str) -> Iterator[LoggedValue]:
        """The numbers on one line."""


class JsonLines(Lines):
    """One JSON object per line."""

    def row(self, line: str) -> Iterator[LoggedValue]:
        """The object's numbers, those one level down under ``outer/inner``."""
        if not line.startswith("{"):
            return
        found = parsed(line)
        if isinstance(found, dict):
            yield from values_of(found)


class CsvLines(Lines):
    """Separated values under a line of names. A later line without a number is a new line of names."""

    def __init__(self, delimiter: str = ",") -> None:
        super().__init__()
        self._delimiter = delimiter
        self._names: list[str] = []

    def row(self, line: str) -> Iterator[LoggedValue]:
        """The numbers of one row, by the names above them."""
        try:
            cells = next(csv.reader([line], delimiter=self._delimiter), [])
        except csv.Error:
            return
        if len(cells) > MAX_KEYS:
            cells = cells[:MAX_KEYS]
        if cells and all(reading(cell) is None for cell in cells):
            # Words in a row of as many cells as before may be a row as well: only the first line, or one of
            # another length, names columns.
            if len(cells) != len(self._names):
                self._names = [cell.strip() for cell in cells]
            return
        if self._names and len(cells) == len(self._names):
            yield from values_of(dict(zip(self._names, cells, strict=True)))


class MlflowLines(Lines):
    """MLflow's file store: one file per metric, ``time value step`` on each line."""

    def __init__(self, key: str) -> None:
        super().__init__()
        self._key = key[:MAX_NAME]

    def row(self, line: str) -> Iterator[LoggedValue]:
        """The one number on a line."""
        fields = line.split()
        if len(fields) in (2, 3):
            found = reading(fields[1])
            if found is not None:
                step = whole_number(fields[2]) if len(fields) == 3 else None
                yield LoggedValue(self._key, step, *found)


class Printed(str):
    """A number as it stood in a JSON text."""


def parsed(text: str) -> object:
    """JSON with its numbers as they were printed; None when it is not JSON."""
    try:
        return json.loads(text, parse_float=Printed, parse_int=Printed, parse_constant=Printed)
    except (ValueError, RecursionError):
        return None


def values_of(row: Mapping[str, object]) -> Iterator[LoggedValue]:
    """The numbers of one row, with its step and sort; texts are numbers when they look like one."""
    flat: dict[str, str] = {}
    for name, value in row.items():
        if isinstance(value, dict):
            for inner, deep in value.items():
                if isinstance(deep, str) and len(flat) < MAX_KEYS:
                    flat[f"{name}/{inner}"] = deep
        elif isinstance(value, str) and len(flat) < MAX_KEYS:
            flat[name] = value
    steps = (whole_number(flat.get(key, "")) for key in STEP_KEYS)
    step = next((one for one in steps if one is not None), None)
    sort = ",".join(
        f"{key}={flat[key][:20]}" for key in SORT_KEYS if key in flat and reading(flat[key]) is None
    )
    for name, text in flat.items():
        if name in STEP_KEYS:
            continue
        found = reading(text)
        if found is not None:
            yield LoggedValue(f"{name[:MAX_NAME]}[{sort}]" if sort else name[:MAX_NAME], step, *found)


def whole_number(text: str) -> int | None:
    """A step: digits, perhaps with a point and zeros behind."""
    head, _, tail = text.strip().partition(".")
    if not (head.isascii() and head.isdecimal() and len(head) < 16) or tail.strip("0"):
        return None
    return int(head)
