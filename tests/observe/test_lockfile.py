"""Lock files of three forms say which archives may be installed."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from veracity.core.errors import EvidenceError
from veracity.observe.lockfile import LockedArchive, read_lock

A, B = "a" * 64, "b" * 64
URL = "https://index.example"

UV = f"""\
version = 1
revision = 3

[[package]]
name = "torch"
version = "2.13.0+cpu"
source = {{ registry = "https://index.example/simple" }}
sdist = {{ url = "https://index.example/torch-2.13.0.tar.gz", hash = "sha256:{B}", size = 7 }}
wheels = [
    {{ url = "{URL}/torch-2.13.0%2Bcpu-cp311-cp311-linux_x86_64.whl", hash = "sha256:{A}", size = 5 }},
]

[[package]]
name = "mine"
version = "0.1"
source = {{ editable = "." }}
"""

PYLOCK = f"""\
lock-version = "1.0"
created-by = "a-tool"

[[packages]]
name = "Torch"
version = "2.13.0"
wheels = [{{ name = "torch-2.13.0-py3-none-any.whl", url = "{URL}/t.whl", hashes = {{ sha256 = "{A}" }} }}]

[[packages]]
name = "mine"
directory = {{ path = "." }}

[[packages]]
name = "local"
wheels = [{{ path = "wheels/local-2.0-py3-none-any.whl", hashes = {{ sha256 = "{B}" }} }}]
"""

REQUIREMENTS = f"""\
# made by a tool
--index-url https://index.example/simple
torch[extra]==2.13.0 ; python_version >= "3.10" \\
    --hash=sha256:{A} \\
    --hash=sha256:{B}  # the other platform
Some.Name==1.0 --hash sha256:{B.upper()}
unpinned>=3
-r more.txt
"""


def read(tmp_path: Path, name: str, text: str) -> dict[str, list[LockedArchive]]:
    path = tmp_path / name
    path.write_text(text)
    found: dict[str, list[LockedArchive]] = {}
    for one in read_lock(path).archives:
        found.setdefault(one.name, []).append(one)
    return found


def test_uv_lock(tmp_path: Path) -> None:
    found = read(tmp_path, "uv.lock", UV)
    wheel, sdist = found["torch"]
    assert (wheel.version, wheel.sha256, wheel.size) == ("2.13.0+cpu", A, 5)
    assert wheel.filename == "torch-2.13.0+cpu-cp311-cp311-linux_x86_64.whl"
    assert wheel.is_wheel
    assert not sdist.is_wheel
    assert read_lock(tmp_path / "uv.lock").others == {"mine": "editable"}


def test_pylock(tmp_path: Path) -> None:
    found = read(tmp_path, "pylock.toml", PYLOCK)
    assert found["torch"][0].filename == "torch-2.13.0-py3-none-any.whl"
    assert found["torch"][0].url == "https://index.example/t.whl"
    assert (found["local"][0].version, found["local"][0].sha256) == ("2.0", B)
    assert read_lock(tmp_path / "pylock.toml").others == {"mine": "directory"}


def test_requirements_with_hashes(tmp_path: Path) -> None:
    found = read(tmp_path, "requirements.txt", REQUIREMENTS)
    assert [one.sha256 for one in found["torch"]] == [A, B]
    assert (found["some-name"][0].version, found["some-name"][0].sha256) == ("1.0", B)
    assert read_lock(tmp_path / "requirements.txt").passed == ("unpinned>=3", "-r more.txt")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("requirements.txt", "torch==2.13.0\n"),
        ("requirements.txt", ""),
        ("uv.lock", "version = 1\n"),
        ("uv.lock", "not toml ="),
        ("pylock.toml", 'lock-version = "2.0"\n'),
        ("poetry.lock", "[metadata]\n"),
    ],
)
def test_what_names_no_archive_is_refused(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(EvidenceError):
        read_lock(tmp_path / name)


def test_a_lock_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    for name in ("uv.lock", "requirements.txt"):
        with pytest.raises(EvidenceError, match="cannot be read"):
            read_lock(tmp_path / name)


def test_a_line_of_blanks_is_read_in_its_length(tmp_path: Path) -> None:
    """With a pattern that tries each split of them, this takes an hour."""
    (tmp_path / "lock.txt").write_text(f"a{' ' * 1_000_000}x --hash=sha256:{'a' * 64}\n")
    with pytest.raises(EvidenceError):
        read_lock(tmp_path / "lock.txt")


def test_digests_that_are_none_do_not_vouch(tmp_path: Path) -> None:
    assert "torch" not in read(tmp_path, "uv.lock", UV.replace(A, "z" * 64).replace(B, "md5:1"))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=300), st.integers(0, len(UV)))
def test_any_text_is_a_lock_or_an_error(tmp_path: Path, text: str, at: int) -> None:
    for name, whole in (("uv.lock", UV), ("pylock.toml", PYLOCK), ("requirements.txt", REQUIREMENTS)):
        (tmp_path / name).write_text(whole[:at] + text + whole[at:], encoding="utf-8", errors="replace")
        try:
            found = read_lock(tmp_path / name)
        except EvidenceError:
            continue
        assert all(len(one.sha256) == 64 for one in found.archives)
