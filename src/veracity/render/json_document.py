"""``--format json``: a run as one JSON document, version 1. All of it but the plot points."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from ..core.finding import Evidence, Finding
from .wording import headline, verdict_word, worst_first

if TYPE_CHECKING:
    from ..core.coverage import Coverage
    from ..core.summary import GapSummary, RunSummary

VERSION = 1


def document(summary: RunSummary) -> str:
    """``summary`` as indented ASCII JSON ending with a newline. Times are ns since the epoch.

    The first line says the verdict and what the record is worth, as in the other formats.
    """
    body: dict[str, object] = {
        "headline": headline(summary),
        "version": VERSION,
        "run": summary.run,
        "verdict": verdict_word(summary),
        "reasons": list(summary.verdict.reasons) if summary.verdict is not None else [],
        "refused": list(summary.refused),
        "findings": [finding_document(finding) for finding in worst_first(summary.findings)],
        "gaps": [_gap(gap) for gap in summary.gaps],
        "coverage": {law: _coverage(part) for law, part in sorted(summary.coverage.items())},
        "command": list(summary.command),
        "started_at": summary.started_at,
        "ended_at": summary.ended_at,
        "exit_code": summary.exit_code,
        "host": summary.host,
        "user": summary.user,
        "folder": summary.folder,
        "job": summary.job,
        "peers": list(summary.peers),
        "same_account": summary.same_account,
        "recorder": summary.recorder,
        "recorder_uid": summary.recorder_uid,
        "ran_as": summary.ran_as,
        "processes": [
            {
                "pid": process.pid,
                "rank": process.rank,
                "role": process.role,
                "command": process.command,
                "steps": process.steps,
                "records": process.records,
                "dropped": process.dropped,
                "how": process.how,
                "code": process.code,
                "explained": process.explained,
                "trained": process.trained,
                "spent": process.spent,
            }
            for process in summary.processes
        ],
        "contract": [
            {"field": name, "value": value, "origin": origin} for name, value, origin in summary.contract
        ],
        "what_ran": [
            {"kind": item.kind, "name": item.name, "value": item.value, "remark": item.remark}
            for item in summary.sealed
        ],
        "ledger": {"entries": summary.entries, "root": summary.tree_root},
    }
    # ASCII escapes keep control characters, lone surrogates and bidi marks out of a reader's terminal.
    return json.dumps(body, ensure_ascii=True, allow_nan=False, indent=2) + "\n"


def finding_document(finding: Finding) -> dict[str, object]:
    """One finding as it stands in every JSON document."""
    return {
        "rule": finding.rule,
        "law": finding.law,
        "severity": finding.severity.value,
        "confidence": finding.confidence.value,
        "first_step": finding.first_step,
        "rank": finding.rank,
        "subject": finding.subject,
        "locations": [{"path": where.path, "line": where.line} for where in finding.locations],
        "message": finding.message,
        "evidence": [_evidence(evidence) for evidence in finding.evidence],
    }


def _evidence(evidence: Evidence) -> dict[str, object]:
    return {
        "name": evidence.name,
        "expected": evidence.expected,
        "observed": evidence.observed,
        "excerpt": list(evidence.excerpt),
        "digest": evidence.digest,
    }


def _gap(gap: GapSummary) -> dict[str, object]:
    return {
        "what": gap.what,
        "reason": gap.reason,
        "remedy": gap.remedy,
        "law": gap.law,
        "rank": gap.rank,
        "pid": gap.pid,
        "at": gap.at,
    }


def _coverage(part: Coverage) -> dict[str, object]:
    return {
        "unit": part.unit,
        "checked": part.checked,
        "possible": part.possible,
        "drawn_from": part.drawn_from,
        "passed": part.passed,
        "reasons": dict(sorted(part.reasons.items())),
        "stopped": part.stopped,
    }
