"""The configuration of a Keras model is found in HDF5, wherever a version of the library puts it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from tests.scan.gating import gated, is_clean, rules
from veracity.core.errors import EvidenceError
from veracity.observe.artifact.budget import Budget
from veracity.observe.artifact.input import WINDOW, Input
from veracity.observe.hdf5 import Hdf5Reader

VECTORS = Path(__file__).parents[1] / "vectors" / "hdf5"
READER = Hdf5Reader()


@pytest.mark.parametrize("path", sorted(VECTORS.glob("lambda*.h5")), ids=lambda path: path.stem)
def test_a_lambda_is_found_in_files_of_every_make(path: Path) -> None:
    assert rules(path.read_bytes()) == ["checkpoint-carries-code error"]


@pytest.mark.parametrize("name", ["dense.h5", "dense-fixed.h5", "weights.h5"])
def test_models_without_code_are_clean(name: str) -> None:
    assert is_clean((VECTORS / name).read_bytes())


def test_a_configuration_that_cannot_be_read_is_never_called_clean() -> None:
    fixed = (VECTORS / "lambda-fixed.h5").read_bytes()
    at = fixed.index(b"model_config\0")

    assert gated(fixed[: at + 16] + b"\x11" + fixed[at + 17 :]).status == "incomplete"
    assert gated(fixed[: at + 40]).status == "incomplete"
    assert gated((VECTORS / "lambda.h5").read_bytes().replace(b"GCOL", b"GCOM")).status == "incomplete"


def test_a_name_across_two_windows_is_found_once() -> None:
    fixed = (VECTORS / "lambda-fixed.h5").read_bytes()
    attribute = fixed[fixed.index(b"model_config\0") - 8 :]
    for before in range(WINDOW - 30, WINDOW + 1):
        moved = fixed[:100] + bytes(before - 100) + attribute
        assert rules(moved) == ["checkpoint-carries-code error"]


@given(st.binary(max_size=60), st.integers(0, 8200))
@settings(max_examples=examples(100), deadline=None)
def test_any_bytes_give_facts_or_an_error_of_ours(data: bytes, at: int) -> None:
    for name in ("lambda.h5", "lambda-fixed.h5"):
        whole = (VECTORS / name).read_bytes()
        made = whole[:at] + data + whole[at + len(data) :]
        if READER.claims(made[:4096], Input.of_bytes("x", made)):
            try:
                list(READER.read(Input.of_bytes("x", made), Budget()))
            except EvidenceError:
                continue
