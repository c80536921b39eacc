"""Whose a file is and when it was last changed, as evidence: by the file system's word."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from ....core.finding import Evidence

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def mark_evidence(uid: int, user: str, changed_at: int) -> tuple[Evidence, ...]:
    """Owner and ctime of a file; ``changed_at`` in ns. Nothing for what is not there (``uid`` -1)."""
    if uid < 0:
        return ()
    shown = [Evidence("owner", observed=f"{user or 'unknown'} ({uid})")]
    if 0 < changed_at < 10**20:
        try:
            at = _EPOCH + timedelta(microseconds=changed_at // 1000)
        except OverflowError:
            return tuple(shown)
        text = at.isoformat(timespec="seconds").replace("+00:00", "Z")
        shown.append(Evidence("last changed in any way (ctime)", observed=text))
    return tuple(shown)
