"""How a service is set up: where it keeps what, and what each account may do."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path

import msgspec

from ...core.errors import EvidenceError, UsageError
from ...observe.toml import read_toml
from ..allowance import Quota

SYSTEM_HOME = Path("/var/lib/veracity")
SYSTEM_SOCKET = Path("/run/veracity/monitor.sock")
TABLE = "service"
MAX_FILE = 1 << 20


@dataclass(frozen=True, slots=True)
class Settings:
    """``home`` holds records and key, ``socket`` is where callers come."""

    home: Path = SYSTEM_HOME
    socket: Path = SYSTEM_SOCKET
    quota: Quota = field(default_factory=Quota)


def read_quota(path: Path) -> Quota:
    """The ``[service]`` table of a TOML file: the fields of :class:`..allowance.Quota`.

    Raises UsageError for a file that cannot be read, a key that is not known, or a value that is no number.
    """
    try:
        document = read_toml(path, MAX_FILE)
    except EvidenceError as error:
        raise UsageError(str(error.diagnostics().what), where=str(path)) from error
    if path.stat().st_mode & 0o022:
        raise UsageError("others can write this file", where=str(path), remedy=f"chmod go-w {path}")
    table = document.get(TABLE, {})
    known = [one.name for one in fields(Quota)]
    unknown = [name for name in table if name not in known] if isinstance(table, dict) else []
    if not isinstance(table, dict) or unknown:
        what = f"unknown key {unknown[0][:80]!r} in [{TABLE}]" if unknown else f"[{TABLE}] is no table"
        raise UsageError(what, where=str(path), remedy=f"known: {', '.join(known)}")
    try:
        quota = msgspec.convert(table, type=Quota, strict=True)
    except msgspec.ValidationError as error:
        raise UsageError(f"[{TABLE}] is wrong: {error}", where=str(path)) from error
    for name in known:
        if not 0 < getattr(quota, name) < 2**62:
            raise UsageError(f"{name} must be above 0", where=str(path))
    return quota
