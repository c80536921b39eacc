from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from veracity.render.markup import escape
from veracity.render.visible import brief, clip, is_visible, visible

ANY = st.text(st.characters(exclude_categories=[]), max_size=60)


def test_marks_what_would_steer_a_terminal_or_a_reader() -> None:
    assert visible("a\x1b[31mb") == r"a\x1b[31mb"
    assert visible("ex\u202egnp.exe") == r"ex\u202egnp.exe"
    assert visible("a\u200bb\ufeff\n\t\r") == r"a\u200bb\ufeff\n\t\r"
    assert visible("\udc80\U000e0041") == r"\udc80\U000e0041"
    assert visible("\u3164\ufe0f") == r"\u3164\ufe0f"


def test_leaves_ordinary_words_of_any_script() -> None:
    for text in ("layers.7.weight", "/srv/größe/データ/тест.py", "שלום", "100 %"):
        assert visible(text) == text


def test_clip_says_how_much_is_missing() -> None:
    assert clip("abcdef", 6) == "abcdef"
    assert clip("a" * 1500, 10) == "a" * 10 + "... (1,490 more characters)"


def test_brief_fits_a_column() -> None:
    assert brief("abcdef", 6) == "abcdef"
    assert brief("abcdefg", 6) == "abc..."


@given(ANY)
def test_visible_is_visible_and_encodable(text: str) -> None:
    shown = visible(text)
    assert all(is_visible(character) for character in shown)
    assert visible(shown) == shown
    shown.encode("utf-8")


@given(ANY)
def test_escape_leaves_no_markup(text: str) -> None:
    shown = escape(text)
    assert not set(shown) & set("<>\"'")
    assert all(is_visible(character) for character in shown)
