"""The configuration of a Keras model is found in HDF5, wherever a version of the library puts it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from tests.scan.gating import gated, is_clean, rules
from veracity.core.errors import EvidenceError
from veracity.core.observation import FileAsked
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


@pytest.mark.parametrize("path", sorted(VECTORS.glob("outside*.h5")), ids=lambda path: path.stem)
def test_other_files_that_are_opened_are_told(path: Path) -> None:
    (finding,) = gated(path.read_bytes()).findings
    assert finding.rule == "checkpoint-outside-file"
    named = finding.evidence[0]
    assert named.observed in ("/dev/null/elsewhere.h5", "../elsewhere.h5")
    ways = {"link": "the link weights", "raw": "the storage of a dataset", "virtual": "a virtual dataset"}
    assert named.name == ways.get(path.stem.split("-")[1], ways["raw"])


@pytest.mark.parametrize("path", sorted(VECTORS.glob("beside*.h5")), ids=lambda path: path.stem)
def test_files_beside_and_the_file_itself_are_not(path: Path) -> None:
    assert is_clean(path.read_bytes())
    read = READER.read(Input.of_bytes("x", path.read_bytes()), Budget())
    asked = [one.path for one in read if isinstance(one, FileAsked)]
    assert set(asked) <= {"elsewhere.h5", "beside.bin"}
    assert "elsewhere.h5" in asked


def test_bytes_of_arrays_are_no_links_and_links_are_found_at_any_place() -> None:
    whole = (VECTORS / "outside-link.h5").read_bytes()
    start = whole.index(b"\x01\x18\x40") if b"\x01\x18\x40" in whole else whole.index(b"\x01\x08\x40")
    link = whole[start : start + 80]
    head = (VECTORS / "weights.h5").read_bytes()
    for before in (WINDOW - 40, WINDOW - 3, WINDOW - 1, WINDOW):
        assert len(gated(head + bytes(before - len(head)) + link + bytes(100)).findings) == 1
    assert is_clean(head + b"\x01\x08\x40" * 5_000 + b"\x01\0\0\0\x01\0\x01\0" * 5_000)


def test_links_that_are_packed_are_said_to_be_unread() -> None:
    whole = (VECTORS / "outside-link-newest.h5").read_bytes()
    at = whole.index(b"FRHP") + 7
    assert gated(whole[:at] + b"\x08\0" + whole[at + 2 :]).gaps


def test_a_name_across_two_windows_is_found_once() -> None:
    fixed = (VECTORS / "lambda-fixed.h5").read_bytes()
    attribute = fixed[fixed.index(b"model_config\0") - 8 :]
    for before in range(WINDOW - 30, WINDOW + 1):
        moved = fixed[:100] + bytes(before - 100) + attribute
        assert rules(moved) == ["checkpoint-carries-code error"]


@given(st.binary(max_size=60), st.integers(0, 8200))
@settings(max_examples=examples(100), deadline=None)
def test_any_bytes_give_facts_or_an_error_of_ours(data: bytes, at: int) -> None:
    for name in (
        "lambda.h5",
        "lambda-fixed.h5",
        "outside-raw.h5",
        "outside-virtual.h5",
        "outside-link-newest.h5",
    ):
        whole = (VECTORS / name).read_bytes()
        made = whole[:at] + data + whole[at + len(data) :]
        if READER.claims(made[:4096], Input.of_bytes("x", made)):
            try:
                list(READER.read(Input.of_bytes("x", made), Budget()))
            except EvidenceError:
                continue
