from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veracity.core.digest import Digest
from veracity.core.errors import EvidenceError


@given(st.binary(max_size=100))
def test_of_is_sha256_and_its_text_is_read_back(data: bytes) -> None:
    digest = Digest.of(data)
    assert str(digest) == f"sha256:{hashlib.sha256(data).hexdigest()}"
    assert Digest.parse(str(digest)) == digest


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sha256",
        "sha256:",
        "md5:" + "0" * 32,
        "sha256:" + "0" * 63,
        "sha256:" + "0" * 65,
        "sha256:" + "A" * 64,
        "sha256:" + "0" * 63 + "\n",
        "sha256:" + "0" * 64 + "\n",
        "sha256: " + "0" * 63,
        "SHA256:" + "0" * 64,
        "sha256:" + "../" * 21 + "0",
        "sha256:" + "\u0660" * 64,
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(EvidenceError):
        Digest.parse(text)


def test_a_long_value_is_not_repeated_in_the_message() -> None:
    with pytest.raises(EvidenceError) as caught:
        Digest("sha256", "x" * 100_000)
    assert len(str(caught.value)) < 200


def test_other_known_algorithm_and_order() -> None:
    blake = Digest("blake2b-256", "0" * 64)
    assert blake < Digest("sha256", "0" * 64) < Digest("sha256", "1" * 64)
    assert len({blake, Digest.parse(str(blake))}) == 1
