"""``veracity seal`` and ``verify seal-…``: sealed, changed, found."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.scan.wheels import make_environment, make_wheel, packages, write_requirements
from veracity.cli.main import main


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VERACITY_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def code(tmp_path: Path) -> Path:
    folder = tmp_path / "src"
    (folder / "pkg").mkdir(parents=True)
    (folder / "pkg" / "adamw.py").write_text("beta = 0.999\n")
    (folder / "train.py").write_text("import pkg.adamw\n")
    os.symlink("train.py", folder / "main.py")
    return folder


def seal(capsys: pytest.CaptureFixture[str], *words: str | Path) -> str:
    assert main(["seal", *map(str, words), "--format", "json"]) == 0
    name: str = json.loads(capsys.readouterr().out)["seal"]
    return name


def changes(capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, dict[str, str]]:
    code = main([*map(str, words), "--format", "json"])
    compared = json.loads(capsys.readouterr().out)["compared"]
    return code, {one["path"]: one["change"] for part in compared for one in part["changed"]}


def test_what_has_not_changed_is_as_it_was_sealed(
    home: Path, code: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = seal(capsys, code)
    assert main(["verify", name]) == 0
    assert "src is as it was sealed: 2 files, 30 bytes read again" in capsys.readouterr().out
    assert main(["verify", name[:20]]) == 0


# Each is a way to change what runs; times are put back where the file is still there.
@pytest.mark.parametrize(
    ("path", "word", "act"),
    [
        ("pkg/adamw.py", "content changed", lambda folder: edit(folder / "pkg" / "adamw.py")),
        ("train.py", "made executable", lambda folder: (folder / "train.py").chmod(0o755)),
        ("sitecustomize.py", "added", lambda folder: (folder / "sitecustomize.py").write_text("")),
        ("main.py", "link leads elsewhere", lambda folder: retarget(folder / "main.py", "/bin/true")),
        ("pkg/adamw.py", "another kind of file", lambda folder: link(folder / "pkg" / "adamw.py")),
        ("train.py", "removed", lambda folder: (folder / "train.py").unlink()),
        ("pkg/empty", "added", lambda folder: (folder / "pkg" / "empty").mkdir()),
    ],
)
def test_what_has_changed_is_named(
    home: Path,
    code: Path,
    capsys: pytest.CaptureFixture[str],
    path: str,
    word: str,
    act: Callable[[Path], object],
) -> None:
    name = seal(capsys, f"code={code}")
    act(code)
    assert changes(capsys, "verify", name) == (1, {path: word})
    assert main(["verify", name]) == 1
    shown = capsys.readouterr().out
    assert word in shown
    assert ("last changed" in shown) == (word != "removed")
    assert f"code: {path}" in shown


def edit(path: Path) -> None:
    status = path.stat()
    path.write_text("beta = 0.998\n")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def retarget(path: Path, target: str) -> None:
    path.unlink()
    os.symlink(target, path)


def link(path: Path) -> None:
    """The same content, behind a link to where somebody else can write."""
    other = path.parents[2] / "elsewhere.py"
    path.rename(other)
    os.symlink(other, path)


def test_a_copy_elsewhere_is_compared(
    home: Path, code: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = seal(capsys, f"code={code}")
    subprocess.run(["cp", "-a", code, tmp_path / "copy"], check=True)
    edit(code / "pkg" / "adamw.py")
    assert changes(capsys, "verify", name, "--at", f"code={tmp_path / 'copy'}") == (0, {})
    assert main(["verify", name, "--at", f"other={tmp_path}"]) == 2
    assert "no part 'other'" in capsys.readouterr().err


def test_two_seals_are_compared(home: Path, code: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = seal(capsys, code)
    edit(code / "pkg" / "adamw.py")
    after = seal(capsys, code)
    assert changes(capsys, "seal", "diff", before, after) == (1, {"pkg/adamw.py": "content changed"})
    assert main(["seal", "diff", after, after]) == 0


def test_parts_that_only_one_seal_has_are_whole_changes(
    home: Path, code: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, after = seal(capsys, code / "train.py"), seal(capsys, code / "train.py", code / "pkg")
    assert changes(capsys, "seal", "diff", before, after) == (1, {"": "added", "adamw.py": "added"})


def test_a_seal_lies_in_what_it_seals(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The home below the sealed folder: the seal is no part of itself."""
    (tmp_path / "a").write_text("a")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VERACITY_HOME", str(tmp_path / "home"))
    assert changes(capsys, "verify", seal(capsys)) == (0, {})


# --- somebody writes to the seal --------------------------------------------------------------------------


def test_an_edited_manifest_does_not_hold(home: Path, code: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = seal(capsys, code)
    edit(code / "pkg" / "adamw.py")
    manifest = home / "seals" / name / "manifest"
    data = manifest.read_bytes()
    at = data.index(b" adamw.py\n") - 1
    manifest.write_bytes(data[:at] + (b"0" if data[at : at + 1] != b"0" else b"1") + data[at + 1 :])
    assert main(["verify", name]) == 1
    assert "changed after it was sealed" in capsys.readouterr().err


def test_a_seal_signed_anew_by_another_key_does_not_hold(
    home: Path,
    code: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The insider seals what they changed in a home of their own and puts that in the place of the seal."""
    name = seal(capsys, f"code={code}")
    edit(code / "pkg" / "adamw.py")
    monkeypatch.setenv("VERACITY_HOME", str(tmp_path / "theirs"))
    other = seal(capsys, f"code={code}")
    for item in (tmp_path / "theirs" / "seals" / other).iterdir():
        os.replace(item, home / "seals" / name / item.name)
    monkeypatch.setenv("VERACITY_HOME", str(home))
    assert main(["verify", name]) == 1
    assert "no signature of veracity.local" in capsys.readouterr().err


def test_an_auditor_without_the_home_names_the_key(
    home: Path,
    code: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name = seal(capsys, f"code={code}")
    key = tmp_path / "key.vkey"
    key.write_bytes((home / "seals" / name / "seal.vkey").read_bytes())
    copy = tmp_path / "copy" / name
    subprocess.run(["cp", "-a", "-T", home / "seals" / name, copy.parent], check=True)
    monkeypatch.setenv("VERACITY_HOME", str(tmp_path / "empty"))
    assert main(["verify", str(copy.parent), "--key", str(key)]) == 0
    assert capsys.readouterr().err == ""
    assert main(["verify", str(copy.parent)]) == 0
    assert "lies beside the seal" in capsys.readouterr().err


# --- what cannot be done ----------------------------------------------------------------------------------


def test_what_cannot_be_sealed(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["seal", str(tmp_path / "absent")]) == 2
    assert "nothing to seal" in capsys.readouterr().err
    assert not (home / "seals").exists()
    assert main(["seal", "a=.", f"a={tmp_path}"]) == 2
    assert "two parts are called 'a'" in capsys.readouterr().err
    assert main(["seal", "diff", "latest"]) == 2
    assert main(["verify", "seal-2025"]) == 2
    assert "there is no seal" in capsys.readouterr().err
    assert main(["verify", "latest", "--at", "a=b"]) == 2


def test_a_part_that_is_gone(home: Path, code: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = seal(capsys, f"code={code}")
    code.rename(code.with_name("moved"))
    assert main(["verify", name]) == 2
    assert "No such file" in capsys.readouterr().err


def test_what_could_not_be_read_is_not_called_changed(
    home: Path, code: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Folders too deep to be read, then and now, and read at last."""
    (code / "a" / "b" / "c").mkdir(parents=True)
    with monkeypatch.context() as context:
        context.setattr("veracity.observe.tree.MAX_DEPTH", 2)
        assert main(["seal", str(code), "--format", "json"]) == 2
        name = json.loads(capsys.readouterr().out)["seal"]
        assert changes(capsys, "verify", name) == (2, {})  # unread then and now
    assert changes(capsys, "verify", name) == (2, {"a/b/c": "could not be read"})
    edit(code / "pkg" / "adamw.py")
    assert main(["verify", name, "--quiet"]) == 1


def test_a_seal_that_fails_leaves_nothing(
    home: Path, code: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    name = seal(capsys, code)
    monkeypatch.setattr("veracity.seal.nodes.os.fsync", full)
    assert main(["seal", str(code)]) == 2
    assert "No space left" in capsys.readouterr().err
    assert [one.name for one in (home / "seals").iterdir()] == [name]


def test_an_environment_is_sealed_with_what_was_found_in_it(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wheel = make_wheel(tmp_path, "alpha", {"alpha.py": b"x = 1\n"})
    lock = write_requirements(tmp_path / "lock.txt", [wheel])
    python = make_environment(tmp_path / "env", [wheel])
    words = ["seal", "--python", str(tmp_path / "env"), "--lock", str(lock), "--wheels", str(tmp_path)]
    assert main([*words, "--format", "json"]) == 0
    clean = json.loads(capsys.readouterr().out)
    names = ["interpreter", "library", "commands", "settings", "packages", "native"]
    assert [part["name"] for part in clean["parts"]] == names
    # The made installation borrows the library of this Python's own, which lies in no installation of its.
    assert [one for one in clean["examined"]["findings"] if one["severity"] != "note"] == []
    assert [one["standing"] for one in clean["examined"]["distributions"]] == ["compared"]

    settings = tmp_path / "env" / "pyvenv.cfg"
    true = settings.read_text()
    settings.write_text(true.replace("packages = false", "packages = true"))
    assert settings.read_text() != true
    assert changes(capsys, "verify", clean["seal"]) == (1, {"": "content changed"})
    settings.write_text(true)

    module = packages(python) / "alpha.py"
    status = module.stat()
    module.write_bytes(b"x = 2\n")
    os.utime(module, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert main(words) == 1
    shown = capsys.readouterr().out
    assert "environment-file-altered" in shown
    assert (
        "environment-bytecode-differs" in shown
    )  # the old bytecode fits the time and size that were put back
    assert main(["verify", clean["seal"], "--quiet"]) == 1
    # By its name: of two seals of one second, `latest` may be either.
    assert main(["seal", "diff", clean["seal"], shown.split()[1], "--quiet"]) == 1


def test_an_environment_that_nothing_vouches_for_is_incomplete(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_environment(tmp_path / "env", [make_wheel(tmp_path, "alpha", {"alpha.py": b"x = 1\n"})])
    assert main(["seal", "--python", str(tmp_path / "env")]) == 2
    assert "no installed file was compared with an archive" in capsys.readouterr().out


def test_a_lock_without_an_environment_is_refused(home: Path, tmp_path: Path) -> None:
    assert main(["seal", str(tmp_path), "--lock", str(tmp_path / "lock.txt")]) == 2
    assert main(["seal", "interpreter=.", "--python", str(tmp_path / "absent")]) == 2


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="ssh-keygen is not installed")
def test_a_seal_signed_with_an_ssh_key(
    home: Path, code: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    private, public = tmp_path / "id", tmp_path / "id.pub"
    keygen("-q", "-t", "ed25519", "-N", "", "-f", private)
    assert main(["seal", str(code), "--key", str(private)]) == 0
    assert "signed also with the SSH key SHA256:" in capsys.readouterr().out
    (folder,) = (home / "seals").iterdir()
    (tmp_path / "allowed").write_text(f"me {public.read_text()}")
    words = ("-Y", "verify", "-f", tmp_path / "allowed", "-I", "me", "-n", "veracity-seal", "-s")
    sealed, signature = folder / "seal.dsse.json", folder / "seal.dsse.json.sig"
    keygen(*words, signature, stdin=sealed)
    assert main(["verify", folder.name, "--key", str(public)]) == 0
    assert main(["seal", "diff", folder.name, folder.name, "--key", str(public)]) == 0
    assert main(["verify", folder.name]) == 0  # and with the home's own key, as ever
    # Somebody else signs the same seal with their own tool.
    signature.unlink()
    assert main(["verify", folder.name, "--key", str(public)]) == 2
    keygen("-Y", "sign", "-f", private, "-n", "veracity-seal", sealed)
    assert main(["verify", folder.name, "--key", str(public)]) == 0
    edit(code / "pkg" / "adamw.py")
    assert main(["verify", folder.name, "--key", str(public)]) == 1
    private.unlink()
    public.unlink()
    keygen("-q", "-t", "ed25519", "-N", "", "-f", private)
    capsys.readouterr()
    assert main(["verify", folder.name, "--key", str(public)]) == 1
    assert "another SSH key" in capsys.readouterr().err


def keygen(*words: str | Path, stdin: Path | None = None) -> None:
    data = stdin.read_bytes() if stdin is not None else None
    done = subprocess.run(["ssh-keygen", *map(str, words)], input=data, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_a_private_key_in_a_public_ones_place_is_not_shown(
    home: Path, code: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = seal(capsys, code)
    secret = (home / "key.pem").read_text().splitlines()[1]
    assert main(["verify", name, "--key", str(home / "key.pem")]) == 2
    shown = capsys.readouterr()
    assert "a PEM file" in shown.err
    assert secret[:20] not in shown.err + shown.out
