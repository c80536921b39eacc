"""The errors Veracity raises, and the exit code each one means.

Error                     every one has .diagnostics()
├─ UsageError             wrong flags or configuration                 exit 2
├─ EvidenceError          unreadable or malformed input                exit 2
│   └─ ResourceLimitError a bounded parser hit its limit               exit 2
├─ VerificationError      a signature, digest, proof or order failed   exit 1
├─ TransportError         monitor, witness or server unreachable       exit 2
└─ ReplayError            could not reproduce (not "diverged")         exit 2
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Diagnostics:
    """What happened, where, and what the reader can do about it."""

    what: str
    where: str = ""
    remedy: str = ""

    def __str__(self) -> str:
        lines = [self.what]
        if self.where:
            lines.append(f"  where: {self.where}")
        if self.remedy:
            lines.append(f"  what to do: {self.remedy}")
        return "\n".join(lines)


class Error(Exception):
    """Root of everything Veracity raises on purpose."""

    exit_code: ClassVar[int] = 2

    def __init__(self, what: str, *, where: str = "", remedy: str = "") -> None:
        super().__init__(what)
        self._diagnostics = Diagnostics(what, where, remedy)

    def diagnostics(self) -> Diagnostics:
        """What happened, where, and what to do."""
        return self._diagnostics


class UsageError(Error):
    """The command line or the configuration is wrong."""


class EvidenceError(Error):
    """An input could not be read or is malformed."""


class ResourceLimitError(EvidenceError):
    """A bounded parser hit its limit before the input ended."""


class VerificationError(Error):
    """A signature, digest, proof or order does not hold."""

    exit_code: ClassVar[int] = 1


class TransportError(Error):
    """The other side (monitor, witness, server) cannot be reached."""


class ReplayError(Error):
    """A replay could not be carried out; this says nothing about divergence."""
