from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings

from tests.examples import examples
from tests.render import samples
from veracity.core.coverage import Coverage
from veracity.core.finding import Evidence
from veracity.core.summary import RunSummary, SealedItem, StepPoint
from veracity.render import html
from veracity.render.visible import is_visible

VOID = {"meta"}
ELEMENTS = {
    *("html", "head", "meta", "title", "style", "body", "header", "main", "footer", "section", "article"),
    *("div", "span", "p", "b", "i", "a", "small", "code", "pre", "h1", "h2", "h3", "h4", "ul", "li", "dl"),
    *("dt", "dd", "table", "tr", "th", "td", "details", "summary", "progress"),
    *("svg", "g", "path", "text", "circle", "rect"),
}


class Page(HTMLParser):
    """Collects what the invariants speak of, and fails on a tag that is not closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: set[str] = set()
        self.attributes: list[tuple[str, str]] = []
        self.ids: list[str] = []
        self.words: list[str] = []
        self.titles: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._seen(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._seen(tag, attrs)

    def _seen(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        self.ids += [value or "" for name, value in attrs if name == "id"]

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)
        if self.open and self.open[-1] == "title":
            self.titles.append(data)

    @property
    def text(self) -> str:
        return " ".join(self.words)


def check(text: str) -> Page:
    """The invariants of every report; the page, for more."""
    assert len(text.encode("utf-8")) <= html.MAX_BYTES
    assert all(is_visible(character) for character in text if character != "\n")
    page = Page(text)
    assert page.elements <= ELEMENTS
    names = {name for name, _ in page.attributes}
    assert not {name for name in names if name.startswith("on")}
    assert not names & {"src", "srcset", "action", "style", "background", "xlink:href"}
    assert all(value.startswith("#finding-") for name, value in page.attributes if name == "href")
    assert {value[1:] for name, value in page.attributes if name == "href"} <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    assert not re.search(r"url\s*\(|@import|@font-face", text.partition("</style>")[0])
    assert not re.search(r'="[^"]*\b(nan|inf)\b', text), "a coordinate is not a number"
    return page


MAKES = (samples.broken, samples.held, samples.incomplete, samples.unfinished)


@pytest.mark.parametrize("make", MAKES)
def test_each_kind_of_run_gives_one_closed_file(make: Callable[[], RunSummary]) -> None:
    text = html.report(make())
    page = check(text)
    assert "http:" not in text
    assert "https:" not in text
    assert samples.RUN in page.text
    assert f"veracity verify {samples.RUN}" in page.text
    assert "prefers-color-scheme:dark" in text
    assert "@media print" in text


def test_a_broken_run_shows_its_findings_with_numbers_source_and_place() -> None:
    page = check(html.report(samples.broken()))
    for words in (
        "From step 120 on",
        "update-not-declared",
        f"{samples.ADAMW}:412",
        "-0.000589",
        "observed is 1.9 times what was expected",
        "checked 1,015 of 1,201 modules",
        "pip install py-spy",
        "CosineAnnealingLR(T_max=300)",
        "Same account: tamper-visible only.",
        samples.broken().tree_root,
    ):
        assert words in page.text
    assert page.ids == ["findings", "finding-1", "finding-2", "finding-3"]
    assert "1: step 120, update-not-declared" in page.titles
    assert any(title.startswith("step 204: 1.4") and "data" in title for title in page.titles)


def test_findings_are_linked_from_the_curve() -> None:
    page = check(html.report(samples.broken()))
    assert {value for name, value in page.attributes if name == "href"} == {"#finding-1", "#finding-3"}


def with_points(points: tuple[StepPoint, ...]) -> RunSummary:
    return dataclasses.replace(samples.broken(), points=points)


def test_a_loss_that_stops_being_a_number_is_said_and_drawn() -> None:
    points = tuple(
        dataclasses.replace(point, loss=math.nan if point.step >= 200 else point.loss)
        for point in samples.course(300, 1)
    )
    assert "loss not finite from step 200" in check(html.report(with_points(points))).text


@pytest.mark.parametrize("loss", [None, math.nan, math.inf, -math.inf, 0.0, 1e308, -1e308, 5e-324])
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_odd_losses_and_few_steps(loss: float | None, steps: int) -> None:
    for other in (1.0, -1e308, loss):
        points = tuple(StepPoint(0, step, loss if step else other, loss, 0, {}) for step in range(steps))
        check(html.report(with_points(points)))


def test_no_steps_and_steps_that_lie() -> None:
    assert "No step was recorded." in check(html.report(with_points(()))).text
    odd = (
        StepPoint(-7, -5, 1.0, 1.0, -9, {"data": -1, "<b>": 5}),
        StepPoint(2**70, 2**90, 2.0, -1.0, 2**90, {"data": 2**90}),
    )
    check(html.report(with_points(odd)))


def test_a_long_run_of_many_ranks_stays_small_and_keeps_its_peaks() -> None:
    points = [StepPoint(0, step, 2.0, 1e-3, 40_000_000, {"forward": 30_000_000}) for step in range(100_000)]
    points[61_803] = StepPoint(0, 61_803, 99.0, 1e-3, 9_000_000_000, {"data": 8_900_000_000})
    page = check(html.report(with_points(tuple(points))))
    assert "step 61,803 took 9 s, most of it data" in page.text
    many = with_points(samples.course(200, 64))
    assert "median of 64 ranks" in check(html.report(many)).text


def test_a_run_too_rich_for_one_page_is_shown_in_less_detail() -> None:
    nasty = "\u202e" * 4000
    finding = dataclasses.replace(
        samples.UPDATE,
        subject=nasty,
        message=nasty,
        evidence=(Evidence(nasty, nasty, nasty, (nasty,) * 500, nasty),) * 50,
    )
    rich = dataclasses.replace(
        samples.broken(),
        command=(nasty,),
        findings=(finding,) * 500,
        gaps=(dataclasses.replace(samples.broken().gaps[0], what=nasty, reason=nasty, remedy=nasty),) * 500,
        coverage={
            f"law-{at}{nasty}": Coverage("x", nasty, 1, 2, {f"{at}{nasty}{n}": 1 for n in range(32)})
            for at in range(200)
        },
        processes=tuple(dataclasses.replace(one, command=nasty) for one in samples.broken().processes) * 500,
        contract=((nasty, nasty, nasty),) * 500,
        sealed=tuple(SealedItem(f"kind {at % 90}", nasty, nasty, nasty) for at in range(5000)),
    )
    page = check(html.report(rich))
    assert "further finding" in page.text


def test_altered_files_are_listed_before_the_others() -> None:
    page = check(html.report(samples.broken()))
    assert page.text.index("Not as its reference says") < page.text.index("torch/m000.py")
    assert "Not as its reference says" not in check(html.report(samples.held())).text


@given(samples.hostile())
@settings(max_examples=examples(60))
def test_no_string_of_a_run_becomes_markup(summary: RunSummary) -> None:
    check(html.report(summary))


def test_markup_in_every_place_is_shown_as_text() -> None:
    attack = "</title></style><script>alert(1)</script><img src=x onerror=y>'\"&amp;"
    text = html.report(samples.filled(attack))
    page = check(text)
    assert "<script" not in text
    assert "<img" not in text
    assert page.text.count("<script>alert(1)</script>") > 10


def test_the_line_of_the_verdict_says_what_the_record_is_worth() -> None:
    for summary, worth in (
        (samples.broken(), "same account: tamper-visible only"),
        (samples.by_a_service(), "recorded by the account veracity (uid 998), job ran as uid 1001"),
    ):
        heading = re.search(r"<h1>(.*?)</h1>", html.report(summary))
        assert heading is not None
        assert f"({worth})" in heading[1]
