"""``[scan]`` of the configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ...core.errors import UsageError
from ...seal.configuration import tables_in, wrong

if TYPE_CHECKING:
    from ...core.ignore import Ignore
    from ...core.permit import Permit

KNOWN = ("ignore", "exclude", "permit")
MAX_PATTERNS = 1000


@dataclass(frozen=True, slots=True)
class ScanConfig:
    """What is ignored, and which files are never read (patterns as of ``--exclude``).

    ``permits``: globals that pickles may name beside those of the packaged policy.
    """

    ignores: tuple[Ignore, ...] = ()
    exclude: tuple[str, ...] = ()
    permits: tuple[Permit, ...] = ()


def find_config(home: Path, folder: Path, given: Path | None) -> ScanConfig:
    """``[scan]`` of the file that is ``given``, else of the home, else of ``folder``; raises UsageError."""
    for path, tables in tables_in(home, folder, given):
        if "scan" in tables:
            try:
                return _config(tables["scan"])
            except UsageError as error:
                raise wrong(path, error) from error
    return ScanConfig()


def _config(value: object) -> ScanConfig:
    from ...core.ignore import ignores_of  # where there is no configuration, nobody needs them
    from ...core.permit import permits_of

    if not isinstance(value, Mapping):
        raise UsageError("[scan] is no table")
    unknown = sorted(str(name) for name in value if name not in KNOWN)
    if unknown:
        raise UsageError(
            f"[scan] has an unknown key {unknown[0][:80]!r}", remedy=f"it has {', '.join(KNOWN)}"
        )
    exclude = value.get("exclude", [])
    if (
        not isinstance(exclude, list)
        or len(exclude) > MAX_PATTERNS
        or not all(isinstance(x, str) for x in exclude)
    ):
        raise UsageError("scan.exclude is no list of patterns")
    return ScanConfig(ignores_of(value.get("ignore")), tuple(exclude), permits_of(value.get("permit")))
