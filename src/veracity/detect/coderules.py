"""Rules about source files, in the order in which they are asked; apart, since the gate needs no others."""

from __future__ import annotations

from .detector import Detector
from .rules.code.call_dropped import CallDropped
from .rules.code.call_left_out import CallLeftOut
from .rules.code.checkpoint_rewritten import CheckpointRewritten
from .rules.code.clipping_altered import ClippingAltered
from .rules.code.data_altered import DataAltered
from .rules.code.ends_process import EndsProcess
from .rules.code.error_swallowed import ErrorSwallowed
from .rules.code.files_altered import FilesAltered
from .rules.code.gradient_edited import GradientEdited
from .rules.code.hidden_execution import HiddenExecution
from .rules.code.interpreter_altered import InterpreterAltered
from .rules.code.library_patched import LibraryPatched
from .rules.code.loss_altered import LossAltered
from .rules.code.metric_altered import MetricAltered
from .rules.code.order_altered import OrderAltered
from .rules.code.reseeded import Reseeded
from .rules.code.secrets_sent import SecretsSent
from .rules.code.settings_altered import SettingsAltered
from .rules.code.shell_command import ShellCommand
from .rules.code.stall import Stall
from .rules.code.trigger_in_step import TriggerInStep
from .rules.code.unsafe_load import UnsafeLoad
from .rules.code.unseen_text import UnseenText
from .rules.code.update_altered import UpdateAltered
from .rules.code.value_altered import ValueAltered
from .rules.code.vendored_changed import VendoredChanged
from .rules.code.weights_edited import WeightsEdited

CODE_DETECTORS: tuple[type[Detector], ...] = (
    LibraryPatched,
    GradientEdited,
    WeightsEdited,
    ClippingAltered,
    LossAltered,
    MetricAltered,
    DataAltered,
    OrderAltered,
    SettingsAltered,
    CallLeftOut,
    UpdateAltered,
    ValueAltered,
    TriggerInStep,
    Reseeded,
    Stall,
    EndsProcess,
    ErrorSwallowed,
    CheckpointRewritten,
    FilesAltered,
    UnsafeLoad,
    HiddenExecution,
    ShellCommand,
    SecretsSent,
    InterpreterAltered,
    UnseenText,
    CallDropped,
    VendoredChanged,
)
"""Those asked about source files: each file by itself, whole or what a change brought."""
