"""Names of members, as people see them and where they lead."""

from __future__ import annotations

import os.path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veracity.core.observation import Oddity
from veracity.observe.archive.names import (
    MAX_SHOWN,
    leads_outside,
    link_leads_outside,
    shown,
    through_links,
)


@given(st.one_of(st.binary(max_size=400), st.text(max_size=400)))
def test_a_name_is_shown_without_what_could_fool_a_reader(name: bytes | str) -> None:
    text = shown(name)
    assert len(text) <= MAX_SHOWN + 1
    assert not any(ord(one) < 32 or 0xD800 <= ord(one) < 0xE000 or one in "\u202e\u200b\x9b" for one in text)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a/b", None),
        ("a/../b", None),
        ("./a", None),
        ("..a", None),
        ("a..", None),
        ("../a", Oddity.PARENT),
        ("a/../../b", Oddity.PARENT),
        (r"a\..\..\b", Oddity.PARENT),
        ("/../a", Oddity.PARENT),
        ("/a", Oddity.ABSOLUTE),
        (r"\a", Oddity.ABSOLUTE),
        ("C:a", Oddity.ABSOLUTE),
        ("", None),
    ],
)
def test_where_a_name_leads(name: str, expected: Oddity | None) -> None:
    assert leads_outside(name) is expected


@given(st.lists(st.sampled_from(["..", ".", "", "a", "b"]), max_size=6).map("/".join))
def test_no_name_that_leads_outside_passes(name: str) -> None:
    outside = not os.path.normpath(os.path.join("/root/folder", name)).startswith("/root/folder")
    if outside:
        assert leads_outside(name) is not None


def test_links() -> None:
    assert link_leads_outside("a", "/etc")
    assert link_leads_outside("a/b", "../../c")
    assert not link_leads_outside("a/b", "../c")
    assert not link_leads_outside("a", "b/c")
    assert link_leads_outside("a", "b/../..")
    found = list(through_links(["./out/a", "out", "other/out/b", "out/x/y"], {"out/": "/etc"}))
    assert found == [("./out/a", "out/"), ("out/x/y", "out/")]
