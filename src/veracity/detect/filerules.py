"""Rules about files, in the order in which they are asked; apart, since the gate needs no others to start."""

from __future__ import annotations

from .detector import Detector
from .rules.checkpoint.archive_ambiguous import ArchiveAmbiguous
from .rules.checkpoint.archive_damaged import ArchiveDamaged
from .rules.checkpoint.archive_escapes import ArchiveEscapes
from .rules.checkpoint.archive_hidden import ArchiveHidden
from .rules.checkpoint.script_acts import ScriptActs

FILE_DETECTORS: tuple[type[Detector], ...] = (
    ArchiveAmbiguous,
    ArchiveDamaged,
    ArchiveEscapes,
    ArchiveHidden,
    ScriptActs,
)
