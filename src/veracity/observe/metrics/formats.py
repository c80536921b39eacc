"""Which file is a file of metrics, by its name, and who reads it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePath
from typing import Protocol

from ...core.observation import LoggedValue
from .lines import CsvLines, JsonLines, MlflowLines
from .tensorboard import EventFile
from .trainerstate import TrainerState
from .wandb import WandbFile

TRAINER_STATE = "trainer_state.json"


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
    if name.endswith((".jsonl", ".ndjson")) or name in ("log.txt", "metrics.json"):
        return JsonLines()
    if name.endswith((".csv", ".tsv")):
        return CsvLines("\t" if name.endswith(".tsv") else ",")
    if ".tfevents." in name:
        return EventFile()
    if name.endswith(".wandb"):
        return WandbFile()
    if name == TRAINER_STATE:
        return TrainerState()
    if "metrics" in pure.parts[:-1] and "mlruns" in pure.parts[:-1] and not name.startswith("."):
        return MlflowLines("/".join(pure.parts[len(pure.parts) - pure.parts[::-1].index("metrics") :]))
    return None
