"""Names that files of metrics have, for all who look for such files."""

from __future__ import annotations

import posixpath

TRAINER_STATE = "trainer_state.json"
JSON_LINES = (".jsonl", ".ndjson")
JSON_NAMES = ("log.txt", "metrics.json")
TABLES = (".csv", ".tsv")
EVENTS = ".tfevents."
WANDB = ".wandb"


def is_mlflow(path: str) -> bool:
    """Whether a file lies where MLflow's file store keeps a metric."""
    folders, name = posixpath.split(path)
    parts = folders.split("/")
    return "metrics" in parts and "mlruns" in parts and not name.startswith(".")


def is_metrics(path: str) -> bool:
    """Whether a file of this name is read as a file of metrics."""
    name = posixpath.basename(path).lower()
    if name.endswith((*JSON_LINES, *TABLES, WANDB)) or name in (*JSON_NAMES, TRAINER_STATE):
        return True
    return EVENTS in name or is_mlflow(path)
