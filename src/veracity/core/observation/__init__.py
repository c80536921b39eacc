"""Observations: what was seen, never what it means. One frozen class per kind of thing.

Those that come from the guard are decoded from its frames (field names are the wire's names); the others
are made by the monitor from ``/proc``, files and its own clock. Detectors see nothing else.
"""

from ..trial import GradientTrial
from .approved import SealChecked, SealDrift
from .archive import ArchiveOdd, ArchiveRead, Oddity, OddMember, ScriptCode
from .artifact import ArrayRead, ArtifactRead, LimitReached
from .carriers import CodeCarried, FileAsked, FormatRuleBroken, NameAsked, OperatorAsked, TemplateReach
from .channel import CallFrame, ChannelUsed, FileWritten, ProcessAppeared, SocketsSeen
from .code import FunctionIdentity, FunctionsExpected, FunctionsSeen, ModuleChecked, ModuleImported
from .compiled import CompiledFunction
from .condition import GroupLoad, JobStuck, MonitorHeld, ProcessChanged, ProcessHeld, RankStuck, WorkersSeen
from .data import BatchesDrawn, DatasetWritten, LoaderStarted, SamplerStarted
from .declared import (
    OptimizerDeclared,
    ReferenceDeclared,
    SchedulerCall,
    SchedulerDeclared,
    SchedulersStepped,
    SchedulerStepped,
)
from .defined import DefiningFile, GlobalDefined, Reassigned
from .earlier import EarlierRun, EarlierRuns, EarlierSeries
from .environment import BytecodeCompared, DistributionCompared, FileDifference, StrayFile, WheelCompared
from .files import CheckpointLoaded, CheckpointSaved, FileDigested, StateRestored, TensorCopy, TensorDigest
from .gradient import BackwardRoot, GradientChecked, HookActed, LossChecked
from .job import JobJoined, PeerReplicas, PeerSeen, ReplicaStep
from .life import HostLoad, ProcessEnded, SignalForwarded, StackFrame, StackSampled, StacksUnavailable
from .loading import NamedGlobal, ObjectsLoaded
from .metrics import LoggedValue, MetricsLogged, MetricsOpened
from .native import LibraryMapped, LibraryResolved, SearchFolder
from .notebook import CommandAsked
from .pickles import GlobalsPermitted, PickleRead
from .process import Gap, Goodbye, Hello, RecordDamaged, RecordsMissing
from .root import Observation
from .source import Guard, SourceFact, SourceRead
from .startup import EarlyModule, StartCode, StartedWith, StartupItem
from .training import BatchUse, HooksMoved, StepRecord, StepsPassed, WeightsMoved

__all__ = [
    "SealChecked", "SealDrift", "ArrayRead", "ArtifactRead", "LimitReached",
    "ArchiveOdd", "ArchiveRead", "OddMember", "Oddity", "ScriptCode",
    "CodeCarried", "FileAsked", "FormatRuleBroken", "NameAsked", "OperatorAsked", "TemplateReach",
    "CallFrame", "ChannelUsed", "FileWritten", "ProcessAppeared", "SocketsSeen",
    "CompiledFunction",
    "GroupLoad", "JobStuck", "MonitorHeld", "ProcessChanged", "ProcessHeld", "RankStuck", "WorkersSeen",
    "FunctionIdentity", "FunctionsExpected", "FunctionsSeen", "ModuleChecked", "ModuleImported",
    "BatchesDrawn", "DatasetWritten", "LoaderStarted", "SamplerStarted",
    "OptimizerDeclared", "ReferenceDeclared", "SchedulerCall", "SchedulerDeclared", "SchedulerStepped",
    "SchedulersStepped",
    "DefiningFile", "GlobalDefined", "Reassigned",
    "EarlierRun", "EarlierRuns", "EarlierSeries",
    "BytecodeCompared", "DistributionCompared", "FileDifference", "StrayFile", "WheelCompared",
    "CheckpointLoaded", "CheckpointSaved", "FileDigested", "StateRestored", "TensorCopy", "TensorDigest",
    "BackwardRoot", "GradientChecked", "GradientTrial", "HookActed", "LossChecked",
    "JobJoined", "PeerReplicas", "PeerSeen", "ReplicaStep",
    "HostLoad", "ProcessEnded", "SignalForwarded", "StackFrame", "StackSampled", "StacksUnavailable",
    "LoggedValue", "MetricsLogged", "MetricsOpened",
    "NamedGlobal", "ObjectsLoaded",
    "LibraryMapped", "LibraryResolved", "SearchFolder",
    "CommandAsked", "GlobalsPermitted", "PickleRead",
    "Gap", "Goodbye", "Hello", "RecordDamaged", "RecordsMissing",
    "Observation",
    "Guard", "SourceFact", "SourceRead", "EarlyModule", "StartCode", "StartedWith", "StartupItem",
    "BatchUse", "HooksMoved", "StepRecord", "StepsPassed", "WeightsMoved",
]  # fmt: skip
