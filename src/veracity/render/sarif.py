"""SARIF 2.1.0: findings for code scanning, with fingerprints that survive edits elsewhere in a file.

Source: OASIS Static Analysis Results Interchange Format 2.1.0. Paths are relative URIs where they are below
the folder in which the scan was started. Confidence stands beside the level as SARIF's ``rank``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from urllib.parse import quote

from ..core.finding import Finding, Location
from ..core.rule import Confidence, Rule
from ..observe.artifact.url import is_url
from ..scan.gate.fingerprint import fingerprint
from ..scan.gate.result import FileResult, SetAside, Summary
from .visible import visible

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
FINGERPRINT = "veracity/v1"
_RANKS = {Confidence.HIGH: 90.0, Confidence.MEDIUM: 50.0, Confidence.LOW: 10.0}
_ROOT = "%SRCROOT%"
_IN_URLS = "/:@+,;=!$&'()*~"


def sarif(
    results: Sequence[FileResult], summary: Summary, rules: Mapping[str, Rule], version: str, folder: str
) -> str:
    """One run of one tool. ``rules`` by id; ``folder``: where the scan was started."""
    named = sorted({one.rule for result in results for one in _all(result)})
    index = {rule: at for at, rule in enumerate(named)}
    told = []
    for result in results:
        told += [_result(one, result, index, folder, None) for one in result.findings]
        told += [_result(one.finding, result, index, folder, one) for one in result.aside]
    run = {
        "tool": {
            "driver": {
                "name": "veracity",
                "semanticVersion": version,
                "rules": [_rule(rules[one]) if one in rules else {"id": one} for one in named],
            }
        },
        "columnKind": "unicodeCodePoints",
        "originalUriBaseIds": {_ROOT: {"uri": _directory(folder)}},
        "invocations": [_invocation(results, summary, folder)],
        "results": told,
    }
    document = {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}
    return json.dumps(document, ensure_ascii=True, allow_nan=False, indent=2) + "\n"


def _all(result: FileResult) -> list[Finding]:
    return [*result.findings, *(one.finding for one in result.aside)]


def _rule(rule: Rule) -> dict[str, object]:
    return {
        "id": rule.id,
        "shortDescription": {"text": rule.title},
        "defaultConfiguration": {"level": rule.severity.value, "rank": _RANKS[rule.confidence]},
        "properties": {"tags": ["security", rule.law]},
    }


def _result(
    finding: Finding, result: FileResult, index: Mapping[str, int], folder: str, aside: SetAside | None
) -> dict[str, object]:
    places = finding.locations or (Location(result.path),)
    told: dict[str, object] = {
        "ruleId": finding.rule,
        "ruleIndex": index[finding.rule],
        "level": finding.severity.value,
        "rank": _RANKS[finding.confidence],
        "message": {"text": visible(finding.message)},
        "locations": [_location(places[0], finding.subject, result.path, folder)],
        "partialFingerprints": {FINGERPRINT: fingerprint(finding, result.path)},
    }
    if len(places) > 1:
        told["relatedLocations"] = [_location(one, "", result.path, folder) for one in places[1:20]]
    if aside is not None:
        told["suppressions"] = [
            {
                "kind": "inSource" if aside.by.startswith("a comment") else "external",
                "justification": visible(f"{aside.reason} ({aside.by})"),
            }
        ]
    return told


def _location(where: Location, subject: str, path: str, folder: str) -> dict[str, object]:
    """The file on disk; what lies inside it is a logical location."""
    outer, _, inner = where.path.partition("!")
    physical: dict[str, object] = {"artifactLocation": _uri(outer or path, folder)}
    if where.line > 0 and not inner:
        physical["region"] = {"startLine": where.line}
    told: dict[str, object] = {"physicalLocation": physical}
    inside = inner or subject.partition("!")[2]
    if inside:
        told["logicalLocations"] = [{"fullyQualifiedName": visible(inside)[:1000], "kind": "member"}]
    return told


def _uri(path: str, folder: str) -> dict[str, object]:
    if is_url(path):
        return {"uri": quote(path.encode("utf-8", "surrogateescape"), safe=_IN_URLS)}
    full = os.path.abspath(path)
    if full.startswith(folder.rstrip("/") + "/"):
        return {"uri": _quoted(full[len(folder.rstrip("/")) + 1 :]), "uriBaseId": _ROOT}
    return {"uri": "file://" + _quoted(full)}


def _directory(folder: str) -> str:
    return "file://" + _quoted(folder.rstrip("/") + "/")


def _quoted(path: str) -> str:
    return quote(os.fsencode(path))


def _invocation(results: Sequence[FileResult], summary: Summary, folder: str) -> dict[str, object]:
    missed = [(result, one) for result in results for one in result.missed]
    return {
        "executionSuccessful": not summary.incomplete and (summary.files > 0 or summary.may_be_empty),
        "exitCode": summary.exit_code,
        "toolExecutionNotifications": [
            {
                "level": "error",
                "message": {"text": visible(f"{one.what}: {one.reason}")},
                "locations": [{"physicalLocation": {"artifactLocation": _uri(result.path, folder)}}],
            }
            for result, one in missed[:10_000]
        ],
    }
