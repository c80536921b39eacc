"""What the code rules show of a module: digests, the changed lines, the file's own time."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from ....core.finding import Evidence
from ....core.observation import ModuleChecked

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def module_evidence(module: ModuleChecked) -> tuple[Evidence, ...]:
    """Digests, diff and modification time of a checked module, as far as there are any."""
    shown = [Evidence("SHA-256 of the source", module.expected, module.source_digest)]
    if module.diff:
        shown.append(Evidence("changed lines", module.diff_from, module.path, tuple(module.diff)))
    if module.reason:
        shown.append(Evidence("remark", observed=module.reason))
    if 0 < module.modified_at < 10**20:
        try:
            at = _EPOCH + timedelta(microseconds=module.modified_at // 1000)
        except OverflowError:
            return tuple(shown)
        text = at.isoformat(timespec="seconds").replace("+00:00", "Z")
        shown.append(Evidence("modification time by the file system (self-report)", observed=text))
    return tuple(shown)
