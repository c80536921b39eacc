"""Which file is a file of metrics, by its name, and who reads it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePath
from typing import Protocol

from ...core.metricnames import EVENTS, JSON_LINES, JSON_NAMES, TABLES, TRAINER_STATE, WANDB, is_metrics
from ...core.observation import LoggedValue
from .lines import CsvLines, JsonLines, MlflowLines
from .tensorboard import EventFile
from .trainerstate import TrainerState
from .wandb import WandbFile


class Parser(Protocol):
    """Reads one file as it grows.

    ``whole``: the file is written anew each time, and :meth:`feed` is given all of it each time; else only
    what was appended. ``damaged`` says why nothing more can be read, empty while it can.
    """

    whole: bool
    damaged: str

    def feed(self, data: bytes) -> Iterator[LoggedValue]:
        """The numbers that ``data`` completes. Never raises on what it is given."""
        ...


def parser_for(path: str) -> Parser | None:
    """The parser of a file of this name, None when no known file of metrics has such a name."""
    pure = PurePath(path)
    name = pure.name.lower()
    if not is_metrics(path):
        return None
    if name.endswith(JSON_LINES) or name in JSON_NAMES:
        return JsonLines()
    if name.endswith(TABLES):
        return CsvLines("\t" if name.endswith(".tsv") else ",")
    if EVENTS in name:
        return EventFile()
    if name.endswith(WANDB):
        return WandbFile()
    if name == TRAINER_STATE:
        return TrainerState()
    return MlflowLines("/".join(pure.parts[len(pure.parts) - pure.parts[::-1].index("metrics") :]))
