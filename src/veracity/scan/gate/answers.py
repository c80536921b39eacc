"""What a worker says of one file, as a line of JSON: nothing in it can do anything to who reads it."""

from __future__ import annotations

import json

from ...core.finding import Evidence, Finding, Location
from ...core.rule import Confidence, Severity
from .result import FileResult, Missed


def line_of(result: FileResult) -> bytes:
    """A result as a line, its newline included. Names that are no UTF-8 come back as they were."""
    said = (
        *(result.path, result.size, result.formats, result.inputs, result.more, result.sha256),
        *(result.seconds, [(one.what, one.reason, one.remedy) for one in result.missed]),
        *([_said(one) for one in result.findings], result.named, result.unvouched),
    )
    return json.dumps(said).encode("ascii") + b"\n"


def result_in(line: bytes) -> FileResult:
    """The result that :func:`line_of` wrote; raises ValueError when it is none."""
    try:
        path, size, formats, inputs, more, sha256, seconds, *lists, unvouched = json.loads(line)
        missed, findings, named = lists
        return FileResult(
            path,
            size,
            tuple(_finding(*one) for one in findings),
            tuple(Missed(*one) for one in missed),
            tuple(formats),
            inputs,
            more,
            sha256,
            seconds,
            named=tuple((module, name) for module, name in named),
            unvouched=unvouched,
        )
    except TypeError as error:
        raise ValueError(str(error)) from error


def _said(one: Finding) -> tuple[object, ...]:
    locations = [(where.path, where.line) for where in one.locations]
    evidence = [(it.name, it.expected, it.observed, it.excerpt, it.digest) for it in one.evidence]
    return (
        *(one.rule, one.law, one.severity.value, one.confidence.value, one.subject, one.message),
        *(one.rank, one.first_step, locations, evidence),
    )


def _finding(
    rule: str,
    law: str,
    severity: str,
    confidence: str,
    subject: str,
    message: str,
    rank: int,
    first_step: int | None,
    locations: list[tuple[str, int]],
    evidence: list[tuple[str, str, str, list[str], str]],
) -> Finding:
    return Finding(
        rule,
        law,
        Severity(severity),
        Confidence(confidence),
        subject,
        message,
        rank,
        first_step,
        tuple(Location(*one) for one in locations),
        tuple(
            Evidence(name, expected, observed, tuple(excerpt), digest)
            for name, expected, observed, excerpt, digest in evidence
        ),
    )
