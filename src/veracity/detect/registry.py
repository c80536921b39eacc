"""All rules there are, in the order in which they are asked: explicit lists, no discovery."""

from __future__ import annotations

from ..core.rule import Rule
from .coderules import CODE_DETECTORS
from .detector import Detector
from .filerules import FILE_DETECTORS
from .rules.channel.in_load import InLoad
from .rules.channel.in_step import InStep
from .rules.channel.sealed_write import SealedWrite
from .rules.channel.unexpected import Unexpected
from .rules.checkpoint.executes import Executes
from .rules.checkpoint.unsafe_load import UnsafeLoad
from .rules.code.bytecode_forged import BytecodeForged
from .rules.code.function_swapped import FunctionSwapped
from .rules.code.library_unlike_seal import LibraryUnlikeSeal
from .rules.code.loaded_elsewhere import LoadedElsewhere
from .rules.code.source_altered import SourceAltered
from .rules.code.unlike_seal import UnlikeSeal
from .rules.continuity.buffers_written import BuffersWritten
from .rules.continuity.checkpoint_edited import CheckpointEdited
from .rules.continuity.checkpoint_unknown_origin import CheckpointUnknownOrigin
from .rules.continuity.layer_altered import LayerAltered
from .rules.continuity.load_differs import LoadDiffers
from .rules.continuity.parameter_exchanged import ParameterExchanged
from .rules.continuity.resume_differs import ResumeDiffers
from .rules.continuity.saved_differs import SavedDiffers
from .rules.continuity.weights_changed import WeightsChanged
from .rules.continuity.weights_written import WeightsWritten
from .rules.contract.seal_drifted import SealDrifted
from .rules.contract.seal_unapproved import SealUnapproved
from .rules.data.batch_altered import BatchAltered
from .rules.data.loader_rewired import LoaderRewired
from .rules.data.order_drift import OrderDrift
from .rules.data.order_repeated import OrderRepeated
from .rules.data.set_changed import SetChanged
from .rules.environment.bytecode_differs import BytecodeDiffers
from .rules.environment.file_altered import FileAltered
from .rules.environment.file_stray import FileStray
from .rules.environment.native_path import NativePath
from .rules.environment.native_unowned import NativeUnowned
from .rules.environment.not_locked import NotLocked
from .rules.environment.preload_unowned import PreloadUnowned
from .rules.environment.record_differs import RecordDiffers
from .rules.environment.startup_open import StartupOpen
from .rules.environment.startup_unowned import StartupUnowned
from .rules.gradient.accumulation import Accumulation
from .rules.gradient.batch_left_out import BatchLeftOut
from .rules.gradient.changed import GradientChanged
from .rules.gradient.clipping import Clipping
from .rules.gradient.hook_began import HookBegan
from .rules.gradient.loss_not_derivative import LossNotDerivative
from .rules.gradient.loss_scaled import LossScaled
from .rules.gradient.not_derivative import NotDerivative
from .rules.gradient.written import GradientWritten
from .rules.life.crashed import Crashed
from .rules.life.exit_nonzero import ExitNonzero
from .rules.life.hang import Hang
from .rules.life.killed import Killed
from .rules.life.stopped import Stopped
from .rules.life.traced import Traced
from .rules.metric.loss_misreported import LossMisreported
from .rules.metric.norm_misreported import NormMisreported
from .rules.metric.shifted import Shifted
from .rules.metric.unlike_earlier import UnlikeEarlier
from .rules.randomness.dropout_stopped import DropoutStopped
from .rules.randomness.evaluation_mode import EvaluationMode
from .rules.randomness.state_returned import StateReturned
from .rules.record.missing import RecordMissing
from .rules.record.spool_altered import SpoolAltered
from .rules.replica.disagrees import ReplicaDisagrees
from .rules.schedule.cadence import ScheduleCadence
from .rules.schedule.drift import ScheduleDrift
from .rules.time.frozen import Frozen
from .rules.time.loader_starved import LoaderStarved
from .rules.time.share_reduced import ShareReduced
from .rules.time.slow_rank import SlowRank
from .rules.time.stall import Stall
from .rules.time.throttled import Throttled
from .rules.update.hyper_drift import HyperDrift
from .rules.update.not_declared import UpdateNotDeclared
from .rules.update.parameters_regrouped import Regrouped
from .rules.update.second_optimizer import SecondOptimizer

DETECTORS: tuple[type[Detector], ...] = (
    UpdateNotDeclared,
    HyperDrift,
    SecondOptimizer,
    Regrouped,
    ScheduleDrift,
    ScheduleCadence,
    GradientChanged,
    GradientWritten,
    Accumulation,
    BatchLeftOut,
    Clipping,
    OrderDrift,
    OrderRepeated,
    LoaderRewired,
    SetChanged,
    BatchAltered,
    WeightsChanged,
    WeightsWritten,
    BuffersWritten,
    LayerAltered,
    ParameterExchanged,
    CheckpointEdited,
    CheckpointUnknownOrigin,
    Executes,
    UnsafeLoad,
    SavedDiffers,
    LoadDiffers,
    ResumeDiffers,
    StateReturned,
    EvaluationMode,
    DropoutStopped,
    NotDerivative,
    LossNotDerivative,
    HookBegan,
    LossScaled,
    ReplicaDisagrees,
    LossMisreported,
    NormMisreported,
    SourceAltered,
    UnlikeSeal,
    LibraryUnlikeSeal,
    BytecodeForged,
    LoadedElsewhere,
    FunctionSwapped,
    StartupUnowned,
    PreloadUnowned,
    StartupOpen,
    SealedWrite,
    InLoad,
    InStep,
    Unexpected,
    Shifted,
    UnlikeEarlier,
    Stall,
    SlowRank,
    LoaderStarved,
    Throttled,
    Frozen,
    ShareReduced,
    Killed,
    Stopped,
    Traced,
    Hang,
    Crashed,
    ExitNonzero,
    SpoolAltered,
    RecordMissing,
    SealDrifted,
    SealUnapproved,
)

AT_REST: tuple[type[Detector], ...] = (
    FileAltered,
    FileStray,
    RecordDiffers,
    NotLocked,
    BytecodeDiffers,
    StartupUnowned,
    PreloadUnowned,
    StartupOpen,
    NativeUnowned,
    NativePath,
)
"""Those asked about an environment that nothing runs in, when it is sealed."""

EVERY: tuple[type[Detector], ...] = tuple(
    dict.fromkeys((*DETECTORS, *AT_REST, *FILE_DETECTORS, *CODE_DETECTORS))
)

GATE_RULES: frozenset[str] = frozenset(detector.rule.id for detector in (*FILE_DETECTORS, *CODE_DETECTORS))
"""Rules that the gate asks about files, in a scan or before a job loads them; no run asks them by itself."""

RULES: tuple[Rule, ...] = tuple(detector.rule for detector in EVERY)
