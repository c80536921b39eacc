from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from rich.console import Console

from tests.examples import examples
from tests.render import samples
from veracity.core.summary import RunSummary
from veracity.render import text
from veracity.render.visible import is_visible

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "show-broken.txt"


def test_text_of_a_broken_run_is_the_golden_one() -> None:
    assert text.show(samples.broken()) == GOLDEN.read_text(encoding="utf-8")


def test_first_line_says_verdict_run_and_what_the_record_is_worth() -> None:
    first = text.show(samples.broken()).splitlines()[0]
    assert first == f"broken  {samples.RUN}  (same account: tamper-visible only)"
    assert text.show(samples.held()).splitlines()[0] == f"held  {samples.RUN}"
    assert text.headline(samples.unfinished()) == f"unfinished  {samples.RUN}\n"


@pytest.mark.parametrize("make", [samples.broken, samples.held, samples.incomplete, samples.unfinished])
def test_plain_text_has_no_escape_codes(make: object) -> None:
    assert callable(make)
    shown = text.show(make())
    assert "\x1b" not in shown
    assert all(is_visible(character) for line in shown.splitlines() for character in line)


def test_a_terminal_gets_colours_and_the_same_words() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, color_system="standard", width=100)
    coloured = text.show(samples.broken(), console)
    assert "\x1b[1;31m" in coloured
    plain = Console(file=io.StringIO(), color_system=None, width=100)
    words = [line.rstrip() for line in text.show(samples.broken(), plain).splitlines()]
    assert words == text.show(samples.broken()).splitlines()


def test_names_are_not_read_as_colour_markup() -> None:
    hostile = dataclasses.replace(samples.UPDATE, subject="[bold red]x[/]", message="see [link=x]here[/link]")
    console = Console(file=io.StringIO(), force_terminal=True, color_system="standard", width=100)
    shown = text.show(dataclasses.replace(samples.broken(), findings=(hostile,)), console)
    assert "[bold red]x[/]" in shown
    assert "[link=x]here[/link]" in shown


def test_long_lists_are_cut_and_counted() -> None:
    many = dataclasses.replace(samples.broken(), findings=(samples.STALL,) * 90)
    assert "and 40 further findings" in text.show(many)
    gaps = dataclasses.replace(samples.broken(), gaps=samples.broken().gaps * 60)
    assert "and 10 further gaps" in text.show(gaps)
    processes = dataclasses.replace(samples.broken(), processes=samples.broken().processes * 40)
    assert "and 56 further processes" in text.show(processes)


def test_closing_words_name_run_verdict_and_where_to_read_on() -> None:
    said = text.closing(samples.broken())
    assert said.startswith(f"veracity: broken  {samples.RUN}")
    assert "update-not-declared" in said
    assert f"veracity show {samples.RUN}" in said


@given(samples.hostile())
@settings(max_examples=examples(40))
def test_no_string_of_a_run_can_steer_the_terminal(summary: RunSummary) -> None:
    for shown in (text.show(summary), text.closing(summary), text.headline(summary)):
        shown.encode("utf-8")
        assert all(is_visible(character) for character in shown if character != "\n")


def test_the_first_line_of_a_run_that_a_service_recorded() -> None:
    first = text.show(samples.by_a_service()).splitlines()[0]
    worth = "recorded by the account veracity (uid 998), job ran as uid 1001"
    assert first == f"held  {samples.RUN}  ({worth})"
