"""Rule: the identity of one check. The id is the same in file name, docs, SARIF and suppressions."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass

_ID = re.compile(r"[a-z]+(-[a-z]+)+\Z")


class Severity(str, enum.Enum):
    """What it would mean if true. Only ``ERROR`` can break a run."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"

    @property
    def weight(self) -> int:
        """3 for error, 2 for warning, 1 for note: for thresholds and sorting."""
        return {"error": 3, "warning": 2, "note": 1}[self.value]


class Confidence(str, enum.Enum):
    """How sure the rule is; kept apart from severity."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


@dataclass(frozen=True, slots=True)
class Rule:
    """One check. ``law`` is the key of its coverage (``update``, ``data-order``, …)."""

    id: str
    law: str
    title: str
    severity: Severity
    confidence: Confidence

    def __post_init__(self) -> None:
        if not _ID.match(self.id):
            raise ValueError(f"rule id must be kebab-case, family first: {self.id!r}")
