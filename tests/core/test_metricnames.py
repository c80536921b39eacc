"""The guard and the monitor look for the same files."""

from __future__ import annotations

import pytest

from veracity.core.metricnames import is_metrics
from veracity.observe.metrics.formats import parser_for

YES = (
    "/out/metrics.jsonl", "Log.NDJSON", "log.txt", "/a/metrics.json", "x.csv", "x.tsv",
    "events.out.tfevents.17.host.1", "run-1.wandb", "/c/trainer_state.json", "/a/mlruns/0/b/metrics/loss",
)  # fmt: skip
NO = ("/out/model.pt", "metrics", "/a/mlruns/0/b/params/lr", "/a/mlruns/0/metrics/.hidden", "", "log.txt/")


@pytest.mark.parametrize("path", YES)
def test_what_is_read_is_noted(path: str) -> None:
    assert is_metrics(path)
    assert parser_for(path) is not None


@pytest.mark.parametrize("path", NO)
def test_what_is_not_is_not(path: str) -> None:
    assert not is_metrics(path)
    assert parser_for(path) is None
