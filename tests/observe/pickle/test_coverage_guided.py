"""The machine, the reader and the rules under atheris, where it is installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.observe.pickle.streams import real_pickles

pytest.importorskip("atheris")

TARGET = """
import sys, atheris
with atheris.instrument_imports(include=["veracity.observe.pickle", "veracity.detect", "veracity.core"]):
    from veracity.detect.pickles import judge
    from veracity.observe.pickle import walk
    from veracity.observe.pickle.policy import permitted
    from veracity.observe.pickle.reader import PickleReader
from veracity.core.origin import monitor_origin
from veracity.observe.artifact.budget import Budget
from veracity.observe.artifact.input import Input

policy, reader = permitted(monitor_origin(0)).policy, PickleReader()

def take(data):
    judge(walk(data), policy)
    whole = Input.of_bytes("file", data)
    if reader.claims(data[:4096], whole):
        list(reader.read(whole, Budget()))

atheris.Setup(sys.argv, take)
atheris.Fuzz()
"""


@pytest.mark.soak
def test_no_bytes_raise_or_hang(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for number, data in enumerate(real_pickles()):
        (corpus / str(number)).write_bytes(data)
    flags = ["-max_total_time=60", "-timeout=10", "-max_len=4096", f"-artifact_prefix={tmp_path}/"]
    done = subprocess.run(
        [sys.executable, "-c", TARGET, str(corpus), *flags], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
