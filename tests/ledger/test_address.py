"""Addresses of services of others."""

from __future__ import annotations

import pytest

from veracity.ledger.address import is_address


@pytest.mark.parametrize(
    "url", ["http://h", "https://h:8765/path?q", "http://[::1]:80", "http://127.0.0.1:1"]
)
def test_addresses(url: str) -> None:
    assert is_address(url)


@pytest.mark.parametrize(
    "url",
    ["", "h:80", "ftp://h", "http://", "http://[h", "http://h:x", "http://h:0", "http://h/a b", "http://h\n"],
)
def test_what_is_none(url: str) -> None:
    assert not is_address(url)
