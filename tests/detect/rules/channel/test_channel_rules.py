"""Ways out of a job: what only sabotage does, and the many things that honest programs do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pytest

from veracity.core.finding import Finding
from veracity.core.observation import (
    CallFrame,
    ChannelUsed,
    FileWritten,
    Hello,
    ModuleChecked,
    Observation,
    ProcessAppeared,
    SocketsSeen,
)
from veracity.core.origin import Origin, Trust, monitor_origin
from veracity.core.rule import Severity
from veracity.detect.detector import Detector
from veracity.detect.rules.channel.in_load import InLoad
from veracity.detect.rules.channel.in_step import InStep
from veracity.detect.rules.channel.sealed_write import MAX_FINDINGS, SealedWrite
from veracity.detect.rules.channel.unexpected import MAX_NOTES, Unexpected

ENV = "/env/lib/python3.11/site-packages"
MAIN = CallFrame("/home/u/train.py", 90, "main")
UNPICKLER = CallFrame(f"{ENV}/torch/serialization.py", 2221, "_load")
LOAD = [UNPICKLER, CallFrame(f"{ENV}/torch/serialization.py", 1610, "load"), MAIN]
ADAM = CallFrame(f"{ENV}/torch/optim/adam.py", 227, "step")
WRAPPER = CallFrame(f"{ENV}/torch/optim/optimizer.py", 530, "wrapper")
CLIP = CallFrame(f"{ENV}/torch/nn/utils/clip_grad.py", 60, "clip_grad_norm_")
GRAPH = CallFrame(f"{ENV}/torch/autograd/graph.py", 979, "_engine_run_backward")
REQUESTS = CallFrame(f"{ENV}/requests/api.py", 60, "post")
HOOK = CallFrame("/home/u/train.py", 31, "report")


def used(
    kind: str,
    frames: Sequence[CallFrame],
    *,
    inside: str = "",
    target: str = "10.1.2.3:443",
    step: int = 20,
    importing: bool = False,
) -> ChannelUsed:
    origin = Origin("guard", Trust.USERLAND, 7, 0, 0, 0)
    return ChannelUsed(origin, kind, target, step, inside, importing, True, 1, list(frames))


def judged(detector: Detector, *observations: Observation) -> list[Finding]:
    found = [finding for one in observations for finding in detector.observe(one)]
    return found + list(detector.finish())


# --- in a load ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["spawn", "connect", "bind", "dlopen"])
@pytest.mark.parametrize("frames", [LOAD, [CallFrame("<string>", 1, "<module>"), *LOAD]])
def test_a_checkpoint_that_acts_when_it_is_loaded(kind: str, frames: list[CallFrame]) -> None:
    (finding,) = judged(InLoad(), used(kind, frames, inside="load"))
    assert finding.breaks
    assert finding.locations[0].path == UNPICKLER.path


def test_an_object_that_starts_something_when_it_is_restored_is_a_warning() -> None:
    own = CallFrame("/home/u/model.py", 9, "__setstate__")
    (finding,) = judged(InLoad(), used("spawn", [own, *LOAD], inside="load"))
    assert finding.severity is Severity.WARNING


@pytest.mark.parametrize(
    "call",
    [
        used("connect", [CallFrame(f"{ENV}/s3fs/core.py", 5, "read"), *LOAD], inside="load"),
        used("connect", [CallFrame("/home/u/remote.py", 5, "read"), *LOAD], inside="load"),
        used("spawn", LOAD, inside="load", importing=True),
        used("write", LOAD, inside="load"),
        used("spawn", [CallFrame(f"{ENV}/lightning/signals.py", 5, "_requeue"), *LOAD], inside="load"),
        used("spawn", [MAIN]),
        used("spawn", [], inside="load"),
    ],
)
def test_loads_that_read_from_elsewhere_or_import_are_none(call: ChannelUsed) -> None:
    assert judged(InLoad(), call) == []


# --- in a step ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("inside", "frames", "guilty"),
    [
        ("step", [ADAM, WRAPPER, MAIN], ADAM),
        ("clip", [CLIP, MAIN], CLIP),
        ("backward", [GRAPH, MAIN], GRAPH),
        ("step", [WRAPPER, MAIN], WRAPPER),
    ],
)
def test_torchs_arithmetic_that_calls_home(inside: str, frames: list[CallFrame], guilty: CallFrame) -> None:
    (finding,) = judged(InStep(), *[used("connect", frames, inside=inside)] * 3)
    assert finding.breaks
    assert finding.first_step == 21
    assert (finding.locations[0].path, finding.locations[0].line) == (guilty.path, guilty.line)


def test_a_library_between_may_be_a_handler_that_interrupted_the_step() -> None:
    requeue = CallFrame(f"{ENV}/submitit/core/job_environment.py", 9, "checkpoint_and_try_requeue")
    for library in (REQUESTS, requeue):
        (finding,) = judged(InStep(), used("spawn", [library, ADAM, WRAPPER, MAIN], inside="step"))
        assert finding.severity is Severity.WARNING
    log = CallFrame("/usr/lib/python3.11/logging/handlers.py", 600, "createSocket")
    assert judged(InStep(), used("connect", [log, ADAM, MAIN], inside="step")) == []
    assert judged(InLoad(), used("connect", [log, *LOAD], inside="load")) == []


@pytest.mark.parametrize(
    ("inside", "frames"),
    [
        ("backward", [HOOK, GRAPH, MAIN]),
        ("backward", [REQUESTS, GRAPH, MAIN]),
        ("step", [HOOK, WRAPPER, MAIN]),
        ("step", [REQUESTS, WRAPPER, MAIN]),
        ("step", [HOOK, CallFrame(f"{ENV}/torch/optim/lbfgs.py", 9, "step"), MAIN]),
        ("step", [CallFrame(f"{ENV}/torch/_inductor/codecache.py", 1, "compile"), ADAM, MAIN]),
        ("step", [CallFrame(f"{ENV}/triton/runtime/build.py", 1, "_build"), ADAM, MAIN]),
        ("backward", [CallFrame(f"{ENV}/torch/distributed/distributed_c10d.py", 1, "x"), GRAPH]),
        ("step", [HOOK, MAIN]),
        ("", [MAIN]),
    ],
)
def test_hooks_of_programs_compilers_and_collectives_are_none(inside: str, frames: list[CallFrame]) -> None:
    assert (
        judged(InStep(), used("connect", frames, inside=inside), used("spawn", frames, inside=inside)) == []
    )


def test_imports_and_libraries_in_a_step_are_none() -> None:
    assert judged(InStep(), used("spawn", [ADAM], inside="step", importing=True)) == []
    assert judged(InStep(), used("dlopen", [ADAM], inside="step")) == []


# --- writes -------------------------------------------------------------------------------------------


def written(
    path: str, what: str, *, seen: str = "audit", frames: Iterable[CallFrame] = (MAIN,)
) -> FileWritten:
    return FileWritten(monitor_origin(0, pid=7), path, "torch", what, seen, 20, list(frames))


@pytest.mark.parametrize(
    ("path", "what", "severity"),
    [
        (f"{ENV}/torch/optim/adam.py", "recorded", Severity.ERROR),
        (f"{ENV}/numpy/core/x.so", "recorded", Severity.ERROR),
        (f"{ENV}/quiet.pth", "unrecorded", Severity.ERROR),
        (f"{ENV}/sitecustomize.py", "unrecorded", Severity.ERROR),
        (f"{ENV}/torch/new.py", "unrecorded", Severity.WARNING),
        (f"{ENV}/package/table.db", "recorded", Severity.WARNING),
        ("/home/u/model.py", "imported", Severity.WARNING),
        ("/home/u/.cache/huggingface/modules/transformers_modules/x/model.py", "imported", Severity.NOTE),
        (f"{ENV}/facexlib/weights/detection.pth", "unrecorded", None),
        (f"{ENV}/package/cache.json", "unrecorded", None),
    ],
)
def test_by_whose_file_it_is(path: str, what: str, severity: Severity | None) -> None:
    found = judged(SealedWrite(), *[written(path, what)] * 2)
    assert [finding.severity for finding in found] == ([] if severity is None else [severity])
    assert all(finding.breaks == (severity is Severity.ERROR) for finding in found)


def test_an_installer_is_a_warning_and_findings_are_bounded() -> None:
    pip = [CallFrame(f"{ENV}/pip/_internal/operations/install/wheel.py", 1, "save"), MAIN]
    (finding,) = judged(SealedWrite(), written(f"{ENV}/torch/optim/adam.py", "recorded", frames=pip))
    assert finding.severity is Severity.WARNING
    many = (written(f"{ENV}/torch/x{number}.py", "recorded") for number in range(500))
    assert len(judged(SealedWrite(), *many)) == MAX_FINDINGS


# --- unexpected ---------------------------------------------------------------------------------------


def checked(path: str, source: str) -> ModuleChecked:
    return ModuleChecked(monitor_origin(0), "m", path, "", "", "", source, "same", "", "", 0, [], "", 0)


def hello(world: str, local: str) -> Hello:
    ids = {"WORLD_SIZE": world, "LOCAL_WORLD_SIZE": local}
    return Hello(monitor_origin(0, pid=7), 1, "rank", "", "3.11", "2.6", 0, ids, {})


def sockets(*rows: list[str], step: int = 20, readable: bool = True) -> SocketsSeen:
    return SocketsSeen(monitor_origin(0, pid=7), "rank", step, readable, list(rows))


def appeared(program: str, *, fork: bool = False, step: int = 20, command: str = "") -> ProcessAppeared:
    origin = monitor_origin(0, pid=9)
    return ProcessAppeared(origin, "other", 7, "rank", program, command or program, fork, step)


LIBRARY = CallFrame(f"{ENV}/quiet/net.py", 3, "send")


@pytest.mark.parametrize("early", [True, False])
@pytest.mark.parametrize("source", ["altered", "unrecorded"])
def test_altered_code_that_connects_is_a_warning(source: str, early: bool) -> None:
    call, known = used("connect", [LIBRARY, MAIN]), checked(LIBRARY.path, source)
    (finding,) = judged(Unexpected(), *([known, call] if early else [call, known]), call)
    assert finding.severity is Severity.WARNING
    assert source in finding.message
    assert finding.locations[0].path == LIBRARY.path


def test_recorded_libraries_and_the_first_steps_are_none() -> None:
    call = used("connect", [LIBRARY, MAIN])
    assert judged(Unexpected(), checked(LIBRARY.path, "true"), call) == []
    assert judged(Unexpected(), call) == []
    early = used("connect", [LIBRARY, MAIN], step=-1)
    assert judged(Unexpected(), checked(LIBRARY.path, "altered"), early) == []


def test_the_programs_own_calls_are_notes_the_first_time() -> None:
    found = judged(Unexpected(), *[used("connect", [MAIN])] * 3, used("spawn", [HOOK], target="rsync"))
    assert [finding.severity for finding in found] == [Severity.NOTE] * 2
    assert "starts 'rsync'" in found[1].message


@pytest.mark.parametrize(
    "call",
    [
        used("connect", [MAIN], target="127.0.0.1:29500"),
        used("connect", [MAIN], target="/tmp/wandb.sock"),
        used("bind", [MAIN], target="localhost:6006"),
        used("spawn", [MAIN], target="/usr/bin/git"),
        used("spawn", [CallFrame(f"{ENV}/torch/_inductor/cpp_builder.py", 1, "x")], target="g++"),
        used("dlopen", [MAIN], target="libcuda.so"),
        used("connect", []),
    ],
)
def test_loopback_tools_and_compilers_are_none(call: ChannelUsed) -> None:
    assert judged(Unexpected(), call) == []


def test_connections_that_python_never_made_are_notes() -> None:
    row = ["tcp", "10.0.0.5:4000", "203.0.113.9:443"]
    (finding,) = judged(Unexpected(), sockets(row), sockets(row))
    assert finding.severity is Severity.NOTE
    assert "203.0.113.9:443" in finding.message
    assert judged(Unexpected(), used("connect", [LIBRARY], target="203.0.113.9:443"), sockets(row)) == []
    assert judged(Unexpected(), sockets(row, step=-1), sockets(row)) == [], "open before the first steps"


def test_rendezvous_and_peers_are_none() -> None:
    loopback = ["tcp", "127.0.0.1:29500", "127.0.0.1:40000"]
    listening, local = ["tcp-listen", "0.0.0.0:29500", ""], ["unix", "/run/x", ""]
    assert judged(Unexpected(), sockets(loopback, listening, local)) == []
    peer = ["tcp", "10.0.0.5:4000", "10.0.0.6:29400"]
    detector = Unexpected()
    assert judged(detector, hello("16", "8"), sockets(peer)) == []
    assert any("spans nodes" in reason for reason in detector.coverage().reasons)
    assert len(judged(Unexpected(), hello("8", "8"), sockets(peer))) == 1


def test_programs_that_python_never_started_are_notes() -> None:
    (finding,) = judged(Unexpected(), appeared("/opt/miner"), appeared("/opt/miner"))
    assert finding.severity is Severity.NOTE
    assert judged(Unexpected(), used("spawn", [LIBRARY], target="rsync"), appeared("/usr/bin/rsync")) == []
    script = appeared("/usr/bin/perl", command="perl /home/u/exiftool a.jpg")
    assert judged(Unexpected(), used("spawn", [LIBRARY], target="/home/u/exiftool"), script) == []


@pytest.mark.parametrize(
    "one",
    [
        appeared("/usr/bin/python3.11", fork=True),
        appeared("/usr/bin/python3.11"),
        appeared("/usr/bin/gcc"),
        appeared("/usr/bin/nvidia-smi"),
        appeared("/opt/thing", step=-1),
    ],
)
def test_workers_compilers_and_what_runs_before_the_first_steps_are_none(one: ProcessAppeared) -> None:
    assert judged(Unexpected(), one) == []


def test_notes_are_bounded_and_looks_are_counted() -> None:
    detector = Unexpected()
    rows = [["tcp", "x:1", f"203.0.113.{number}:443"] for number in range(200)]
    assert len(judged(detector, *(sockets(row) for row in rows))) == MAX_NOTES
    assert judged(detector, sockets(readable=False)) == []
    coverage = detector.coverage()
    assert (coverage.law, coverage.unit) == ("channels", "looks")
    assert (coverage.checked, coverage.possible) == (200, 201)


def test_hostile_rows_do_not_matter() -> None:
    assert judged(Unexpected(), sockets([], ["tcp"], ["tcp", "a", "b", "c"], ["tcp", "", ""])) == []
