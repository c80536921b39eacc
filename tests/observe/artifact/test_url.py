"""Names that are URLs are shown without what lets somebody in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veracity.observe.artifact.url import is_url, said_safely, shown


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("s3://bucket/a/model.pt", "s3://bucket/a/model.pt"),
        ("https://user:secret@host:8080/m.pt?sig=abc#x", "https://host:8080/m.pt"),
        ("https://token@host/m.pt", "https://host/m.pt"),
        ("https://host?sig=abc", "https://host"),
        ("ftp://user:se@cret@host/x", "ftp://host/x"),
        ("s3://key:sec/ret@bucket/x", "s3://bucket/x"),
        ("hf://datasets/team/set@main/x.pt", "hf://datasets/team/set@main/x.pt"),
        ("sftp://host:22/a@b.pt", "sftp://host:22/a@b.pt"),
        ("memory://a@b/c", "memory://b/c"),
        ("plain/path?with=query", "plain/path?with=query"),
        ("./https:/x", "./https:/x"),
    ],
)
def test_how_a_name_is_shown(name: str, expected: str) -> None:
    assert shown(name) == expected
    assert shown(expected) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        *[("a.pt", False), ("C:/x", False), ("a://b", True), ("zip://x::s3://y", True), ("a b://c", False)],
        *[("simplecache::s3://x", True), ("://x", False), ("../s3://x", False)],
    ],
)
def test_which_names_are_urls(name: str, expected: bool) -> None:
    assert is_url(name) is expected


SECRETS = st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=6, max_size=12).map(
    "S3cr3t".__add__
)


@given(SECRETS, SECRETS, SECRETS, st.sampled_from(["https", "s3", "ftp"]))
def test_no_secret_is_shown_or_repeated(user: str, password: str, token: str, scheme: str) -> None:
    url = f"{scheme}://{user}:{password}@host/a.pt?token={token}"
    said = said_safely(
        f"401 for {url}: no account {user} with {password}; see http://{user}@else/?token={token}", url
    )
    for secret in (user, password, token):
        assert secret not in shown(url)
        assert secret not in said


@given(st.text(max_size=60))
def test_any_name_can_be_shown(name: str) -> None:
    told = shown(name)
    assert told == name or is_url(name)
    assert len(said_safely(name, f"s3://{name}")) <= 300
