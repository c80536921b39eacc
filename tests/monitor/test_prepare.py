from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from veracity.core.digest import Digest
from veracity.core.errors import UsageError
from veracity.guard.compiled import tag
from veracity.monitor.folder import create_folder
from veracity.monitor.prepare import CONFIG_VARIABLE, MAX_SOCKET_PATH, prepare

AT = 1_740_924_131_000_000_000


def test_the_guard_stands_first_on_the_path_and_nothing_else_changes(tmp_path: Path) -> None:
    folder = create_folder(tmp_path, AT)
    given = {"HOME": "/home/u", "PYTHONPATH": "/a:/b"}
    prepared = prepare(folder, given, 0.01)
    assert prepared.environment["PYTHONPATH"].split(os.pathsep) == [str(folder.archive), "/a", "/b"]
    changed = {"PYTHONPATH", CONFIG_VARIABLE}
    assert {name: prepared.environment[name] for name in set(prepared.environment) - changed} == {
        "HOME": "/home/u"
    }
    assert given["PYTHONPATH"] == "/a:/b"
    assert prepare(create_folder(tmp_path, AT), {}, 0.01).environment["PYTHONPATH"].count(os.pathsep) == 0


def test_the_configuration_is_private_and_names_what_there_is(tmp_path: Path) -> None:
    folder = create_folder(tmp_path, AT)
    prepared = prepare(folder, {}, 0.01)
    config = json.loads(folder.guard_config.read_bytes())
    assert prepared.environment[CONFIG_VARIABLE] == str(folder.guard_config)
    assert folder.guard_config.stat().st_mode & 0o777 == 0o600
    assert (config["run"], config["spool"], config["socket"]) == (
        folder.run,
        str(folder.spool),
        str(prepared.socket),
    )
    assert bytes.fromhex(config["key"]) == prepared.key
    assert len(prepared.key) == 32
    assert Digest.of(folder.archive.read_bytes()) == prepared.archive
    assert prepare(create_folder(tmp_path, AT), {}, 0.01).key != prepared.key


def test_the_guards_code_lies_beside_it_and_is_named_by_its_digest(tmp_path: Path) -> None:
    folder = create_folder(tmp_path, AT)
    prepared = prepare(folder, {}, 0.01)
    code = folder.code.read_bytes()
    assert folder.code.stat().st_mode & 0o777 == 0o600
    named = {tag(0): hashlib.sha256(code).hexdigest()}
    assert json.loads(folder.guard_config.read_bytes())["code"] == prepared.code == named
    # Where a service has put the archive, what it has put beside it is named, if it was made of that archive.
    shared = create_folder(tmp_path / "other", AT, guard=folder.archive)
    shared.spool.mkdir(exist_ok=True)
    assert prepare(shared, {}, 0.01).code == named
    folder.code.write_bytes(code.replace(b"sha256:", b"sha255:", 1))
    assert prepare(shared, {}, 0.01).code == {}
    folder.code.unlink()
    assert prepare(shared, {}, 0.01).code == {}


def test_a_home_with_a_colon_cannot_stand_on_the_path(tmp_path: Path) -> None:
    folder = create_folder(tmp_path / "a:b", AT)
    with pytest.raises(UsageError, match="PYTHONPATH") as caught:
        prepare(folder, {}, 0.01)
    assert "--home" in caught.value.diagnostics().remedy
    assert not folder.guard_config.exists()


@pytest.mark.parametrize(("name", "elsewhere"), [("h", False), ("long" * 25, True), ("é" * 40, True)])
def test_a_long_home_has_its_socket_elsewhere(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, name: str, elsewhere: bool
) -> None:
    short = tmp_path_factory.getbasetemp().parent / f"s{os.getpid()}"
    short.mkdir(exist_ok=True)
    monkeypatch.setattr("tempfile.tempdir", str(short))
    folder = create_folder(short / name, AT)
    prepared = prepare(folder, {}, 0.01)
    assert len(os.fsencode(prepared.socket)) <= MAX_SOCKET_PATH
    if elsewhere:
        assert prepared.socket_folder == prepared.socket.parent
        assert prepared.socket_folder.stat().st_mode & 0o777 == 0o700
    else:
        assert prepared.socket_folder is None
        assert prepared.socket.parent == folder.path
