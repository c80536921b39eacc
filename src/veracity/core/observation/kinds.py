"""Where each kind of observation is defined, so that its module is imported when somebody asks for it."""

from __future__ import annotations

import sys
from importlib import import_module

_KINDS = {
    "..trial": "GradientTrial",
    ".approved": "SealChecked SealDrift",
    ".archive": "ArchiveOdd ArchiveRead Oddity OddMember ScriptCode",
    ".artifact": "ArrayRead ArtifactRead LimitReached ShardSlice",
    ".carriers": "CodeCarried FileAsked FormatRuleBroken NameAsked OperatorAsked TemplateReach",
    ".channel": "CallFrame ChannelUsed FileWritten ProcessAppeared SocketsSeen",
    ".code": "FunctionIdentity FunctionsExpected FunctionsSeen ModuleChecked ModuleImported",
    ".compiled": "CompiledFunction",
    ".condition": "GroupLoad JobStuck MonitorHeld ProcessChanged ProcessHeld RankStuck WorkersSeen",
    ".data": "BatchesDrawn DatasetWritten LoaderStarted SamplerStarted",
    ".declared": "OptimizerDeclared ReferenceDeclared SchedulerCall SchedulerDeclared "
        "SchedulersStepped SchedulerStepped",
    ".defined": "DefiningFile GlobalDefined Reassigned",
    ".earlier": "EarlierRun EarlierRuns EarlierSeries",
    ".environment": "BytecodeCompared DistributionCompared FileDifference StrayFile WheelCompared",
    ".files": "CheckpointLoaded CheckpointSaved FileDigested StateRestored TensorCopy TensorDigest",
    ".gap": "Gap",
    ".gradient": "BackwardRoot GradientChecked HookActed LossChecked",
    ".job": "JobJoined PeerReplicas PeerSeen ReplicaStep",
    ".life": "HostLoad ProcessEnded SignalForwarded StackFrame StackSampled StacksUnavailable",
    ".loading": "FileLoading FileScanned NamedGlobal ObjectsLoaded",
    ".metrics": "LoggedValue MetricsLogged MetricsOpened",
    ".native": "LibraryMapped LibraryResolved SearchFolder",
    ".notebook": "CommandAsked",
    ".pickles": "GlobalsPermitted PickleRead",
    ".process": "Goodbye Hello RecordDamaged RecordsMissing",
    ".root": "Observation",
    ".source": "Guard SourceFact SourceRead",
    ".startup": "EarlyModule StartCode StartedWith StartupItem",
    ".training": "BatchUse HooksMoved StepRecord StepsPassed WeightsMoved",
}  # fmt: skip
"""By module, the kinds that it defines."""
_MODULES = {kind: module for module, kinds in _KINDS.items() for kind in kinds.split()}


def __getattr__(name: str) -> object:
    """The kind that is called so; the package takes this function for its own (PEP 562)."""
    package = str(__package__)
    if name not in _MODULES:
        raise AttributeError(f"module {package!r} has no attribute {name!r}")
    kind: object = getattr(import_module(_MODULES[name], package), name)
    setattr(sys.modules[package], name, kind)  # whoever asks next finds it there
    return kind
