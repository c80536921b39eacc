"""Wheels whose files are not as their RECORD says, or that put themselves in the place of something."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from tests.scan.wheels import make_wheel
from veracity.detect.filerules import FILE_DETECTORS
from veracity.observe.artifact.input import Input
from veracity.observe.wheelreader import WheelReader
from veracity.scan.gate.examine import Examined, examine

FILES = {"alpha/__init__.py": b"x = 1\n", "alpha/a.py": b"y = 2\n"}


def gated(data: bytes) -> Examined:
    return examine(Input.of_bytes("alpha-1.0-py3-none-any.whl", data), (WheelReader(),), FILE_DETECTORS)


def found(path: Path) -> list[str]:
    result = gated(path.read_bytes())
    assert result.formats == ["wheel"]
    assert not result.gaps
    return [f"{one.severity.value} {one.evidence[0].observed}" for one in result.findings]


def test_a_wheel_as_it_was_built_is_clean(tmp_path: Path) -> None:
    assert found(make_wheel(tmp_path, "alpha", FILES, commands="alpha = alpha.a:main")) == []


def test_a_file_that_was_exchanged_or_added_is_told(tmp_path: Path) -> None:
    changed = make_wheel(tmp_path, "alpha", FILES, record={"alpha/a.py": "A" * 43})
    assert found(changed) == ["error alpha/a.py"]
    added = make_wheel(tmp_path, "alpha", {**FILES, "b.pth": b"import b"}, record={"b.pth": ""})
    assert found(added)[0].endswith("b.pth")


def test_what_is_loaded_unasked_is_told_unless_it_is_the_loaders_own(tmp_path: Path) -> None:
    groups = b"[torch.backends]\nx = alpha:start\n\n[pytest11]\ny = alpha:plugin\n"
    other = {**FILES, "alpha-1.0.dist-info/entry_points.txt": groups}
    own = {"mlflow-1.0.dist-info/entry_points.txt": b"[mlflow.tracking_store]\nx = mlflow:start\n"}

    assert found(make_wheel(tmp_path, "alpha", other)) == ["warning alpha:start"]
    assert found(make_wheel(tmp_path, "mlflow", own)) == []


def test_a_command_in_the_place_of_everybodys_is_told(tmp_path: Path) -> None:
    scripts = {**FILES, "alpha-1.0.data/scripts/git": b"#!python\n"}

    assert found(make_wheel(tmp_path, "alpha", scripts)) == ["warning git"]
    assert found(make_wheel(tmp_path, "beta", FILES, commands="python3 = alpha.a:main")) == [
        "warning python3"
    ]
    assert found(make_wheel(tmp_path, "pip", FILES, commands="pip3 = alpha.a:main")) == []


@pytest.mark.parametrize(
    ("path", "module"),
    [
        ("collections/__init__.py", "collections"),
        ("random.py", "random"),
        ("pickle.cpython-311-x86_64-linux-gnu.so", "pickle"),
        ("json/decoder.pyc", "json"),
        ("torch/optim/adamw.py", "torch"),
        ("alpha-1.0.data/purelib/copyreg.py", "copyreg"),
        ("alpha-1.0.data/data/lib/python3.11/os.py", "os"),
        ("alpha-1.0.data/data/lib/python3.11/site-packages/numpy/random/__init__.py", "numpy"),
    ],
)
def test_a_module_with_the_name_of_anothers_is_told(tmp_path: Path, path: str, module: str) -> None:
    assert found(make_wheel(tmp_path, "alpha", {**FILES, path: b"x = 1\n"})) == [f"warning {module}"]


def test_names_inside_a_package_and_a_librarys_own_are_nothing(tmp_path: Path) -> None:
    inside = ("alpha/random.py", "alpha/torch/optim.py", "torch-stubs/x.py", "os-notes.txt", "random.json")
    data = ("alpha-1.0.data/data/share/random.py", "alpha-1.0.data/scripts/random.py", "torch/py.typed")
    backports = ("dataclasses.py", "typing.py", "enum/__init__.py", "distutils/core.py", "tests/json.py")
    files = dict.fromkeys((*inside, *data, *backports), b"x = 1\n")

    assert found(make_wheel(tmp_path, "alpha", {**FILES, **files})) == []
    assert found(make_wheel(tmp_path, "torch", {"torch/optim/adamw.py": b"x = 1\n"})) == []
    assert found(make_wheel(tmp_path, "scikit_learn", {"sklearn/a.py": b"x = 1\n"})) == []


def test_an_ordinary_archive_is_no_wheel() -> None:
    assert gated(b"PK\5\6" + bytes(18)).formats == []
    assert gated(b"PK\3\4 x-1.dist-info/RECORD x-1.dist-info/WHEEL" + bytes(100)).formats == []


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return make_wheel(tmp_path_factory.mktemp("wheel"), "alpha", FILES).read_bytes()


@given(at=st.integers(0, 1200), data=st.binary(max_size=12))
@settings(max_examples=examples(100), deadline=None)
def test_a_damaged_archive_is_never_an_error_of_pythons(whole: bytes, at: int, data: bytes) -> None:
    assert gated(whole[:at] + data + whole[at + len(data) :]).status
