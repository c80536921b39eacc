"""What a run was started on: the seal, how it stood, and what was no longer as sealed."""

from __future__ import annotations

import datetime
from dataclasses import dataclass, field

from .root import Observation


@dataclass(frozen=True, slots=True)
class SealDrift:
    """One sealed name that was not as it was sealed.

    ``change`` is what happened to it, ``owner`` its owner by the file system's word, empty when it is gone;
    ``changed_at`` (ctime) in ns since the epoch, 0 when it is gone. ``detail``: how, where that says more;
    of git's own files and settings, and of files that have other names.
    """

    part: str
    path: str
    change: str
    owner: str
    changed_at: int
    detail: str = ""

    @property
    def sentence(self) -> str:
        """What happened to what, whose it is, and since when, as people read it."""
        whose = f", owner {self.owner}" if self.owner else ""
        since = ""
        if self.changed_at:
            # Years that no calendar has are cut, so that a damaged record cannot stop its reader.
            second = min(self.changed_at // 10**9, 253_402_300_799)
            when = datetime.datetime.fromtimestamp(max(0, second), datetime.timezone.utc)
            since = f", last changed {when:%Y-%m-%d %H:%M:%S UTC}"
        how = f", {self.detail}" if self.detail else ""
        return f"{self.change}: {self.part}: {self.path or '.'}{how}{whose}{since}"


@dataclass(frozen=True, slots=True)
class SealChecked(Observation):
    """Before the command was started, the seal's parts were read again and its approvals looked up.

    ``digest`` names the seal's document. ``standing`` is ``approved``, ``expired``, ``fallen``, ``not
    approved``, ``refused`` (seal or log of approvals do not hold), ``unknown`` (they could not be read) or
    ``no policy``; ``reasons`` say why. ``policy``: digest of the policy; ``log_size`` and ``log_root``: the
    head of the log of approvals, so that a log that is shorter later is found out. ``drift`` has the first
    names that differ, ``more`` counts the others. ``outside``: programs of the command that no code of the
    seal contains. ``unread``: what could not be compared. ``override``: the reason that was given for
    starting whatever the policy says, and by which user id; empty without one. ``witnessed``: what witnesses
    said of the log of approvals when they were asked before the start. ``level``: how closely the parts were
    read, and ``looked`` what that consisted of and cannot see, in sentences.
    """

    seal: str
    digest: str
    standing: str
    reasons: list[str]
    policy: str = ""
    policy_file: str = ""
    log_size: int = 0
    log_root: str = ""
    drift: list[SealDrift] = field(default_factory=list)
    more: int = 0
    outside: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    override: str = ""
    override_by: str = ""
    witnessed: list[str] = field(default_factory=list)
    level: str = "full"
    looked: list[str] = field(default_factory=list)

    @property
    def approved(self) -> bool:
        """Whether enough people approved, and both seal and log hold."""
        return self.standing == "approved"

    @property
    def as_sealed(self) -> bool:
        """Whether all could be compared and nothing differed."""
        return not (self.drift or self.more or self.outside or self.unread)
