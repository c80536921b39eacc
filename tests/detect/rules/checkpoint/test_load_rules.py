"""The rules on what files name while they are loaded."""

from __future__ import annotations

from typing import Any

import pytest

from veracity.core.finding import Finding
from veracity.core.observation import FileDigested, NamedGlobal, ObjectsLoaded, Observation
from veracity.core.origin import Origin, Trust
from veracity.core.rule import Severity
from veracity.detect.detector import Detector
from veracity.detect.rules.checkpoint.executes import Executes
from veracity.detect.rules.checkpoint.unsafe_load import UnsafeLoad

ORIGIN = Origin("guard", Trust.USERLAND, 7, 0, 3, 1)


def named(full: str, kind: str = "function", real: str = "") -> NamedGlobal:
    module, name = full.split()
    return NamedGlobal(module, name, kind, real)


def load(*names: NamedGlobal, **more: Any) -> ObjectsLoaded:
    fields: dict[str, Any] = {
        "way": "torch.load",
        "path": "/out/a.pt",
        "step": 4,
        "caller": "/project/train.py",
        "line": 12,
        "weights_only": "false",
        "failed": "",
        "begun": False,
        "fell_back": False,
        "owner": 1000,
        "mode": 0o644,
        "user": 1000,
        "more": 0,
        "repeated": 0,
        **more,
    }
    return ObjectsLoaded(ORIGIN, globals=list(names), **fields)


def digested(*known: str) -> FileDigested:
    origin = Origin("monitor", Trust.SERVICE, 7, 0, -1, 2)
    return FileDigested(origin, "loaded", 4, "/out/a.pt", "a" * 64, [], list(known), False, "", "", [])


def judged(detector: Detector, *seen: Observation) -> list[Finding]:
    return [finding for one in seen for finding in detector.observe(one)] + list(detector.finish())


SEED = named("torch.random manual_seed")


@pytest.mark.parametrize(
    "one",
    [
        SEED,
        named("os system"),
        named("builtins exec"),
        named("mine helper", real="posix.system"),
        named("torch os", "module", "os"),
        named("socket socket", "class"),
        named("shutil rmtree"),
    ],
)
@pytest.mark.parametrize("way", ["torch.load", "pickle.load", "joblib.load"])
def test_a_name_that_is_no_data(one: NamedGlobal, way: str) -> None:
    (finding,) = judged(Executes(), load(one, way=way, begun=True), load(one, way=way))
    assert finding.breaks
    assert finding.first_step == 5
    assert [(place.path, place.line) for place in finding.locations] == [
        ("/out/a.pt", 0),
        ("/project/train.py", 12),
    ]


def test_of_memory_it_is_a_warning() -> None:
    (finding,) = judged(Executes(), load(SEED, way="unpickled", path="", begun=True))
    assert finding.severity is Severity.WARNING


@pytest.mark.parametrize(
    "names",
    [
        [],
        [named("argparse Namespace", "class"), named("torch._utils _rebuild_tensor_v2")],
        [named("__main__ Config", "class"), named("__main__ make")],
        [named("builtins getattr"), named("__main__ Colour", "enum")],
        [named("__builtin__ getattr", real="builtins.getattr"), named("__main__ Colour", "enum")],
        [named("functools partial", "class"), named("torch.nn.modules.normalization LayerNorm", "class")],
        [named("logging getLogger"), named("pathlib PosixPath", "class")],
    ],
)
def test_honest_files(names: list[NamedGlobal]) -> None:
    detector = Executes()
    assert judged(detector, load(*names)) == []
    assert (detector.coverage().checked, detector.coverage().possible) == (1, 1)


def test_what_is_not_known_is_listed_and_bounded() -> None:
    detector = Executes()
    judged(detector, load(*(named(f"mine K{number}", "class") for number in range(50))))
    assert next(iter(detector.coverage().reasons)) == "mine.K0 was rebuilt, of which nothing is known"
    assert len(detector.coverage().reasons) == 8


@pytest.mark.parametrize("one", [named("cloudpickle.cloudpickle _make_function"), named("builtins getattr")])
def test_what_may_be_honest_is_a_warning(one: NamedGlobal) -> None:
    (finding,) = judged(Executes(), load(one, begun=True), load(one))
    assert finding.severity is Severity.WARNING


def test_counted_loads_and_bounds() -> None:
    detector = Executes()
    judged(detector, load(way="elsewhere", path="", repeated=29, more=1000), load(SEED, begun=True))
    assert (detector.coverage().checked, detector.coverage().possible) == (29, 29)
    many = [load(SEED, path=f"/{number}.pt") for number in range(300)]
    assert len(judged(detector, *many)) == 199


# --- unsafe loads -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "more",
    [
        {"fell_back": True},
        {"mode": 0o666},
        {"owner": 1001},
        {"mode": 0o666, "weights_only": "default"},
    ],
)
def test_an_unsafe_load(more: dict[str, object]) -> None:
    seen = load(named("argparse Namespace", "class"), **more)
    (finding,) = judged(UnsafeLoad(), seen, seen, digested())
    assert finding.severity is Severity.WARNING
    assert (finding.locations[0].path, finding.locations[0].line) == ("/project/train.py", 12)
    assert judged(UnsafeLoad(), seen, digested("run-a")) == [], "a recorded run saved this very file"
    assert len(judged(UnsafeLoad(), seen)) == 1, "nobody could digest it"


@pytest.mark.parametrize(
    "seen",
    [
        load(),
        load(weights_only="true", mode=0o666),
        load(weights_only="default", mode=0o666),
        load(owner=0),
        load(owner=1001, user=0),
        load(way="pickle.load", weights_only="", mode=0o666),
        load(begun=True, mode=0o666),
    ],
)
def test_loads_that_need_no_warning(seen: ObjectsLoaded) -> None:
    assert judged(UnsafeLoad(), seen) == []


def test_a_function_that_rebuilds_no_data_is_a_warning_where_it_is_called() -> None:
    named_only = named("builtins print")
    assert judged(Executes(), load(named_only)) == []
    (found,) = judged(
        Executes(), load(NamedGlobal("__builtin__", "print", "function", "builtins.print", True))
    )
    assert found.severity is Severity.WARNING
    assert "calls a function that rebuilds no data" in found.message
