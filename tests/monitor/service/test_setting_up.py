"""Quotas, who may ask for what, and which service is believed."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from veracity.cli.main import main
from veracity.core.errors import EvidenceError, TransportError, UsageError
from veracity.ledger.keys import SigningKey
from veracity.monitor.allowance import Quota
from veracity.monitor.service import finding
from veracity.monitor.service.caller import caller_of, is_there
from veracity.monitor.service.guests import Guests
from veracity.monitor.service.handed import is_run, unfinished
from veracity.monitor.service.log import ServiceLog, events
from veracity.monitor.service.server import Service
from veracity.monitor.service.settings import Settings, read_quota

Captured = pytest.CaptureFixture[str]


def test_quotas_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "quota.toml"
    path.write_text("[service]\nruns_at_once = 2\nday_bytes = 1_000_000\n")
    path.chmod(0o644)
    assert read_quota(path) == Quota(runs_at_once=2, day_bytes=1_000_000)
    path.write_text("")
    assert read_quota(path) == Quota()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[service]\nrun = 2\n", "unknown key 'run'"),
        ("service = 3\n", "is no table"),
        ("[service]\nruns_at_once = 'two'\n", "is wrong"),
        ("[service]\nruns_at_once = 0\n", "must be above 0"),
        ("[service\n", "not TOML"),
    ],
)
def test_quotas_that_are_none(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "quota.toml"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(UsageError, match=why):
        read_quota(path)


def test_quotas_that_others_can_write_or_that_are_not_there(tmp_path: Path) -> None:
    path = tmp_path / "quota.toml"
    with pytest.raises(UsageError, match="cannot be read"):
        read_quota(path)
    path.write_text("")
    path.chmod(0o666)
    with pytest.raises(UsageError, match="others can write"):
        read_quota(path)


def test_each_account_has_its_own_share(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("veracity.monitor.service.guests.time.monotonic", lambda: now[0])
    guests = Guests(Quota(connections=2, runs_at_once=1, requests_per_minute=3))
    assert [guests.connects(1) for _ in range(2)] == ["", ""]
    assert "2 connections open" in guests.connects(1)
    assert guests.connects(2) == ""
    assert [guests.asks(1) for _ in range(3)] == ["", "", ""]
    assert "3 times within a minute" in guests.asks(1)
    assert guests.asks(2) == ""
    now[0] = 25.0
    assert guests.asks(1) == ""
    assert guests.begins(1) == ""
    assert "1 run going on already" in guests.begins(1)
    assert guests.begins(2) == ""
    guests.takes_up(1)
    guests.ends(1)
    guests.ends(1)
    guests.disconnects(1)
    assert guests.connects(1) == ""
    assert guests.begins(1) == ""


def test_which_socket_is_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = tmp_path / "monitor.sock"
    monkeypatch.setattr(finding, "SYSTEM_SOCKET", there)
    assert finding.find_socket(None, {}) == (None, False)
    assert finding.find_socket("x.sock", {}) == (Path("x.sock").absolute(), True)
    assert finding.find_socket(None, {"VERACITY_MONITOR": "/y"}) == (Path("/y"), True)
    assert finding.find_socket("none", {"VERACITY_MONITOR": "/y"}) == (None, False)
    there.touch()
    monkeypatch.setattr(finding, "_believed", lambda: {os.geteuid()})
    assert finding.find_socket(None, {}) == (there, False)
    monkeypatch.setattr(finding, "_believed", lambda: {os.geteuid() + 1})
    assert finding.find_socket(None, {}) == (None, False)


def test_a_socket_of_somebody_else_is_believed_only_when_it_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as server:
        server.bind(str(path))
        server.listen()
        monkeypatch.setattr(finding, "_believed", lambda: {os.geteuid() + 1})
        with pytest.raises(TransportError, match="where the monitor's should"):
            finding.connect(path, asked=False)
        finding.connect(path, asked=True).close()
    with pytest.raises(TransportError, match="cannot be reached"):
        finding.connect(path, asked=True)


def test_the_kernel_says_who_calls() -> None:
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    caller = caller_of(one)
    assert (caller.uid, caller.pid) == (os.geteuid(), os.getpid())
    assert set(caller.groups) == set(os.getgroups())
    assert is_there(caller.pid, caller.starttime)
    assert not is_there(caller.pid, caller.starttime + 1)
    one.close()
    other.close()


def test_a_caller_that_has_ended_is_nobody(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as server:
        server.bind(str(path))
        server.listen()
        child = os.fork()
        if child == 0:
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
                client.connect(str(path))
            os._exit(0)
        os.waitpid(child, 0)
        connection, _ = server.accept()
        with pytest.raises(EvidenceError, match="has ended"):
            caller_of(connection)
        connection.close()


def test_the_services_own_record(tmp_path: Path) -> None:
    key = SigningKey.generate("veracity.local")
    log = ServiceLog(tmp_path, key)
    assert log.ended_before == ""
    log.say("started", pid=7)
    for _ in range(5):
        log.refused(1001, "too much")
    log.refused(1002, "too much")
    log.close()
    again = ServiceLog(tmp_path, key)
    assert again.ended_before == "refused"
    with pytest.raises(UsageError, match="another process"):
        ServiceLog(tmp_path, key)
    again.close()
    assert [(one["event"], one.get("uid")) for one in events(tmp_path)] == [
        ("started", None),
        ("refused", 1001),
        ("refused", 1002),
    ]


def test_names_that_are_no_runs(tmp_path: Path) -> None:
    assert is_run("run-20250302-140211-a1b2c3")
    for name in ("..", "run-20250302-140211-a1b2c3/..", "run-x", "", "run-20250302-140211-a1b2c3\n"):
        assert not is_run(name)
    assert list(unfinished(tmp_path)) == []


@pytest.mark.parametrize("mode", [0o755, 0o770])
def test_a_home_that_others_can_enter_is_refused(tmp_path: Path, mode: int) -> None:
    tmp_path.chmod(mode)
    with pytest.raises(UsageError, match="its account's alone"):
        Service(Settings(tmp_path, tmp_path / "run" / "s"))


def test_a_folder_where_others_could_put_a_socket_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run").chmod(0o777)
    (tmp_path / "home").mkdir(mode=0o700)
    with pytest.raises(UsageError, match="put a socket of theirs"):
        Service(Settings(tmp_path / "home", tmp_path / "run" / "s"))


def test_a_monitor_is_one_for_all_or_none(capsys: Captured) -> None:
    assert main(["monitor"]) == 2
    assert "add --system" in capsys.readouterr().err
