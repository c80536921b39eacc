"""Rules about files, in the order in which they are asked; apart, since the gate needs no others to start."""

from __future__ import annotations

from .detector import Detector
from .rules.checkpoint.archive_ambiguous import ArchiveAmbiguous
from .rules.checkpoint.archive_damaged import ArchiveDamaged
from .rules.checkpoint.archive_escapes import ArchiveEscapes
from .rules.checkpoint.archive_hidden import ArchiveHidden
from .rules.checkpoint.carries_code import CarriesCode
from .rules.checkpoint.format_broken import FormatBroken
from .rules.checkpoint.global_redefined import GlobalRedefined
from .rules.checkpoint.names_harm import NamesHarm
from .rules.checkpoint.notebook_command import NotebookCommand
from .rules.checkpoint.operator import Operator
from .rules.checkpoint.outside_file import OutsideFile
from .rules.checkpoint.pickle_alters_shared import PickleAltersShared
from .rules.checkpoint.pickle_ambiguous import PickleAmbiguous
from .rules.checkpoint.pickle_executes import PickleExecutes
from .rules.checkpoint.pickle_limit import PickleLimit
from .rules.checkpoint.pickle_malformed import PickleMalformed
from .rules.checkpoint.pickle_shape_differs import PickleShapeDiffers
from .rules.checkpoint.pickle_unknown_global import PickleUnknownGlobal
from .rules.checkpoint.remote_code import RemoteCode
from .rules.checkpoint.script_acts import ScriptActs
from .rules.checkpoint.template_reaches import TemplateReaches
from .rules.environment.bytecode_hides import BytecodeHides
from .rules.environment.start_file import StartFile
from .rules.environment.wheel_differs import WheelDiffers

FILE_DETECTORS: tuple[type[Detector], ...] = (
    PickleExecutes,
    PickleUnknownGlobal,
    PickleShapeDiffers,
    PickleAltersShared,
    PickleMalformed,
    PickleLimit,
    PickleAmbiguous,
    GlobalRedefined,
    ArchiveAmbiguous,
    ArchiveDamaged,
    ArchiveEscapes,
    ArchiveHidden,
    ScriptActs,
    NamesHarm,
    RemoteCode,
    CarriesCode,
    TemplateReaches,
    FormatBroken,
    OutsideFile,
    Operator,
    NotebookCommand,
    StartFile,
    WheelDiffers,
    BytecodeHides,
)
