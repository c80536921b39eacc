from __future__ import annotations

from veracity.core import observation as seen
from veracity.core.wiremap import KINDS

OF_FILES = {"archive", "artifact", "carriers", "compiled", "defined", "notebook", "pickles", "source"}
"""Modules of what the gate sees in files: no guard is asked about it."""


def test_each_kind_stands_for_one_observation() -> None:
    assert len(set(KINDS.values())) == len(KINDS)
    assert all(issubclass(kind, seen.Observation) for kind in KINDS.values())


def test_what_only_the_monitor_can_know_has_no_frame() -> None:
    outside = {
        seen.BytecodeCompared,
        seen.DistributionCompared,
        seen.LibraryMapped,
        seen.LibraryResolved,
        seen.SearchFolder,
        seen.SealChecked,
        seen.StrayFile,
        seen.StartCode,
        seen.WheelCompared,
        seen.RecordDamaged,
        seen.RecordsMissing,
        seen.ReferenceDeclared,
        seen.FileDigested,
        seen.FileScanned,
        seen.ModuleChecked,
        seen.FunctionsExpected,
        seen.StackSampled,
        seen.StacksUnavailable,
        seen.HostLoad,
        seen.ProcessEnded,
        seen.SignalForwarded,
        seen.StartupItem,
        seen.FileWritten,
        seen.GroupLoad,
        seen.EarlierRuns,
        seen.JobJoined,
        seen.JobStuck,
        seen.PeerReplicas,
        seen.PeerSeen,
        seen.MetricsLogged,
        seen.MonitorHeld,
        seen.ProcessAppeared,
        seen.ProcessChanged,
        seen.ProcessHeld,
        seen.SocketsSeen,
        seen.WorkersSeen,
    }
    assert not outside & set(KINDS.values())
    made = {one for one in vars(seen).values() if isinstance(one, type) and issubclass(one, seen.Observation)}
    of_files = {one for one in made if one.__module__.rpartition(".")[2] in OF_FILES}
    assert not of_files & set(KINDS.values())
    assert outside | of_files | set(KINDS.values()) == made - {seen.Observation}
