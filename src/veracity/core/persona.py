"""Whose eyes findings are shown to: a budget for false alarms, kept apart from how bad a finding would be."""

from __future__ import annotations

import enum

from .finding import Finding
from .rule import Confidence


class Persona(str, enum.Enum):
    """``regular`` sees every day what is precise enough for that; ``auditor`` wants to look at all."""

    REGULAR = "regular"
    AUDITOR = "auditor"

    def sees(self, finding: Finding) -> bool:
        """Whether a finding is shown: severity plays no part in it."""
        return self is Persona.AUDITOR or finding.confidence is not Confidence.LOW
