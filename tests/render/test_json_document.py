from __future__ import annotations

import json

from hypothesis import given, settings

from tests.examples import examples
from tests.render import samples
from veracity.core.summary import RunSummary
from veracity.render.json_document import document


def test_the_document_of_a_broken_run() -> None:
    body = json.loads(document(samples.broken()))
    assert body["version"] == 1
    assert (body["run"], body["verdict"], body["exit_code"]) == (samples.RUN, "broken", 0)
    assert [finding["rule"] for finding in body["findings"]] == [
        "update-not-declared",
        "code-source-altered",
        "time-stalled-line",
    ]
    worst = body["findings"][0]
    assert set(worst) == {
        *("rule", "law", "severity", "confidence", "first_step", "rank", "subject", "locations", "message"),
        "evidence",
    }
    assert (worst["severity"], worst["first_step"], worst["rank"]) == ("error", 120, 0)
    assert worst["locations"][0] == {"path": samples.ADAMW, "line": 412}
    assert worst["evidence"][0]["observed"] == "-0.000589"
    assert body["gaps"][0]["remedy"].startswith("pip install")
    assert body["coverage"]["data-order"] == {
        "unit": "epochs",
        "checked": 2,
        "possible": 3,
        "drawn_from": 0,
        "passed": 0,
        "reasons": {},
        "stopped": "the sampler was replaced after epoch 2",
    }
    assert body["command"][0] == "torchrun"
    assert body["ledger"]["entries"] == 1826


def test_a_run_without_a_verdict() -> None:
    body = json.loads(document(samples.unfinished()))
    assert (body["verdict"], body["reasons"], body["ended_at"]) == ("unfinished", [], None)


@given(samples.hostile())
@settings(max_examples=examples(40))
def test_any_run_gives_ascii_json_that_says_the_same(summary: RunSummary) -> None:
    shown = document(summary)
    assert shown.isascii()
    assert all(character == "\n" or character >= " " for character in shown)
    body = json.loads(shown)
    assert body["command"] == list(summary.command)
    assert sorted(finding["message"] for finding in body["findings"]) == sorted(
        finding.message for finding in summary.findings
    )


def test_the_first_line_says_verdict_and_what_the_record_is_worth() -> None:
    first = document(samples.broken()).splitlines()[1]
    assert first == f'  "headline": "broken  {samples.RUN}  (same account: tamper-visible only)",'
    body = json.loads(document(samples.by_a_service()))
    worth = "recorded by the account veracity (uid 998), job ran as uid 1001"
    assert body["headline"] == f"held  {samples.RUN}  ({worth})"
    assert (body["recorder"], body["recorder_uid"], body["ran_as"]) == ("veracity", 998, 1001)
