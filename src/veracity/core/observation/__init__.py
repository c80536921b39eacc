"""Observations: what was seen, never what it means. One frozen class per kind of thing.

Those that come from the guard are decoded from its frames (field names are the wire's names); the others
are made by the monitor from ``/proc``, files and its own clock. Detectors see nothing else.

A class is made when it is first asked for: a command that looks at one file needs few of them, and making
all takes longer than looking.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..trial import GradientTrial
    from .approved import SealChecked, SealDrift
    from .archive import ArchiveOdd, ArchiveRead, Oddity, OddMember, ScriptCode
    from .artifact import ArrayRead, ArtifactRead, LimitReached, ShardSlice
    from .carriers import CodeCarried, FileAsked, FormatRuleBroken, NameAsked, OperatorAsked, TemplateReach
    from .channel import CallFrame, ChannelUsed, FileWritten, ProcessAppeared, SocketsSeen
    from .code import FunctionIdentity, FunctionsExpected, FunctionsSeen, ModuleChecked, ModuleImported
    from .compiled import CompiledFunction
    from .condition import (
        GroupLoad,
        JobStuck,
        MonitorHeld,
        ProcessChanged,
        ProcessHeld,
        RankStuck,
        WorkersSeen,
    )
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
    from .files import (
        CheckpointLoaded,
        CheckpointSaved,
        FileDigested,
        StateRestored,
        TensorCopy,
        TensorDigest,
    )
    from .gap import Gap
    from .gradient import BackwardRoot, GradientChecked, HookActed, LossChecked
    from .job import JobJoined, PeerReplicas, PeerSeen, ReplicaStep
    from .life import HostLoad, ProcessEnded, SignalForwarded, StackFrame, StackSampled, StacksUnavailable
    from .loading import FileLoading, FileScanned, NamedGlobal, ObjectsLoaded
    from .metrics import LoggedValue, MetricsLogged, MetricsOpened
    from .native import LibraryMapped, LibraryResolved, SearchFolder
    from .notebook import CommandAsked
    from .pickles import GlobalsPermitted, PickleRead
    from .process import Goodbye, Hello, RecordDamaged, RecordsMissing
    from .root import Observation
    from .source import Guard, SourceFact, SourceRead
    from .startup import EarlyModule, StartCode, StartedWith, StartupItem
    from .training import BatchUse, HooksMoved, StepRecord, StepsPassed, WeightsMoved
else:
    from .kinds import __getattr__  # noqa: F401 - Python looks it up here

__all__ = [
    "ArchiveOdd", "ArchiveRead", "ArrayRead", "ArtifactRead", "BackwardRoot", "BatchesDrawn", "BatchUse",
    "BytecodeCompared", "CallFrame", "ChannelUsed", "CheckpointLoaded", "CheckpointSaved", "CodeCarried",
    "CommandAsked", "CompiledFunction", "DatasetWritten", "DefiningFile", "DistributionCompared",
    "EarlierRun", "EarlierRuns", "EarlierSeries", "EarlyModule", "FileAsked", "FileDifference",
    "FileDigested", "FileLoading", "FileScanned", "FileWritten", "FormatRuleBroken", "FunctionIdentity",
    "FunctionsExpected", "FunctionsSeen", "Gap", "GlobalDefined", "GlobalsPermitted", "Goodbye",
    "GradientChecked", "GradientTrial", "GroupLoad", "Guard", "Hello", "HookActed", "HooksMoved",
    "HostLoad", "JobJoined", "JobStuck", "LibraryMapped", "LibraryResolved", "LimitReached",
    "LoaderStarted", "LoggedValue", "LossChecked", "MetricsLogged", "MetricsOpened", "ModuleChecked",
    "ModuleImported", "MonitorHeld", "NameAsked", "NamedGlobal", "ObjectsLoaded", "Observation", "Oddity",
    "OddMember", "OperatorAsked", "OptimizerDeclared", "PeerReplicas", "PeerSeen", "PickleRead",
    "ProcessAppeared", "ProcessChanged", "ProcessEnded", "ProcessHeld", "RankStuck", "Reassigned",
    "RecordDamaged", "RecordsMissing", "ReferenceDeclared", "ReplicaStep", "SamplerStarted",
    "SchedulerCall", "SchedulerDeclared", "SchedulersStepped", "SchedulerStepped", "ScriptCode",
    "SealChecked", "SealDrift", "SearchFolder", "ShardSlice", "SignalForwarded", "SocketsSeen",
    "SourceFact", "SourceRead", "StackFrame", "StackSampled", "StacksUnavailable", "StartCode",
    "StartedWith", "StartupItem", "StateRestored", "StepRecord", "StepsPassed", "StrayFile",
    "TemplateReach", "TensorCopy", "TensorDigest", "WeightsMoved", "WheelCompared", "WorkersSeen",
]  # fmt: skip
