"""Fields are of the kind that they must be, and base64 has one spelling."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veracity.core.canonical import Json
from veracity.core.errors import EvidenceError
from veracity.seal.fields import from_base64, number_of, text_of


def test_fields_are_of_their_kind() -> None:
    said: dict[str, Json] = {"name": "a", "size": 3, "yes": True, "less": -1}
    assert text_of(said, "name", of="the seal") == "a"
    assert number_of(said, "size", of="the seal") == 3
    for name in ("name", "yes", "less", "none"):
        with pytest.raises(EvidenceError, match=f"the seal has no {name}"):
            number_of(said, name, of="the seal")
    with pytest.raises(EvidenceError, match="an approval has no size"):
        text_of(said, "size", of="an approval")


@given(st.binary())
def test_bytes_come_back(data: bytes) -> None:
    assert from_base64(base64.b64encode(data).decode("ascii"), "a key") == data


@pytest.mark.parametrize("text", ["YQ", "YR==", "YQ==\n", "Y Q==", "YQ=", "ä", "-_=="])
def test_other_spellings_are_refused(text: str) -> None:
    with pytest.raises(EvidenceError, match="a key is not"):
        from_base64(text, "a key")
