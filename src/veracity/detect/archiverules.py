"""Rules about archives and what lies in them, in the order in which they are asked."""

from __future__ import annotations

from .detector import Detector
from .rules.checkpoint.archive_ambiguous import ArchiveAmbiguous
from .rules.checkpoint.archive_damaged import ArchiveDamaged
from .rules.checkpoint.archive_escapes import ArchiveEscapes
from .rules.checkpoint.archive_hidden import ArchiveHidden
from .rules.checkpoint.script_acts import ScriptActs
from .rules.checkpoint.shard_index import ShardIndex

ARCHIVE_DETECTORS: tuple[type[Detector], ...] = (
    ArchiveAmbiguous,
    ArchiveDamaged,
    ArchiveEscapes,
    ArchiveHidden,
    ScriptActs,
    ShardIndex,
)
