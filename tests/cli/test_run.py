from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.render import samples
from veracity.cli.main import main
from veracity.cli.run import exit_code_of, refusal
from veracity.core.digest import Digest
from veracity.core.errors import Error, EvidenceError, UsageError, VerificationError
from veracity.core.observation import SealChecked
from veracity.core.origin import monitor_origin
from veracity.core.summary import RunSummary
from veracity.ledger.keys import SigningKey
from veracity.ledger.witness.asking import KnownWitness
from veracity.ledger.witness.cosignature import WitnessKey
from veracity.ledger.witness.policy import Policy
from veracity.monitor.startcheck import refusals
from veracity.scan.gate.config import ScanConfig

Put = Callable[..., None]
KEY = WitnessKey(SigningKey.generate("w").verifier)
Captured = pytest.CaptureFixture[str]


@dataclasses.dataclass
class Options:
    home: Path
    policy: str
    name: str
    stacks: bool
    quiet: bool
    overhead: float = 0.01
    hang_after: float = 120.0
    job: str = ""
    job_folder: Path | None = None
    references: tuple[object, ...] = ()
    witnesses: tuple[object, ...] = ()
    sealed: object = None
    witness_policy: object = None
    timestamps: tuple[str, ...] = ()
    scan: ScanConfig = dataclasses.field(default_factory=ScanConfig)


@dataclasses.dataclass
class Result:
    run: str
    exit_code: int
    summary: RunSummary
    uncosigned: tuple[str, ...] = ()
    witnessed: bool = True
    unstamped: tuple[str, ...] = ()


class CommandError(UsageError):
    """As the launcher raises it."""

    status = 127


@dataclasses.dataclass
class Job:
    """What the monitor was asked for, and what it answers."""

    result: Result
    asked: list[tuple[list[str], Options]] = dataclasses.field(default_factory=list)

    def run(self, command: Sequence[str], options: Options) -> Result:
        self.asked.append((list(command), options))
        if command[0] == "missing":
            raise CommandError("there is no command 'missing'", remedy="check the name")
        return self.result


@pytest.fixture
def job(put: Put, home: Path) -> Job:
    """A monitor that answers at once."""
    job = Job(Result(samples.RUN, 0, samples.held()))
    put("veracity.monitor.job", run_job=job.run, RunOptions=Options, JobResult=Result)
    put("veracity.monitor.launch", CommandError=CommandError, Child=object)
    return job


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (["run", "--", "python", "t.py", "--steps", "3"], ["python", "t.py", "--steps", "3"]),
        (["run", "python", "t.py", "--steps", "3"], ["python", "t.py", "--steps", "3"]),
        (["run", "--quiet", "python", "t.py", "--home", "x"], ["python", "t.py", "--home", "x"]),
        (["run", "--", "python", "--", "--help"], ["python", "--", "--help"]),
        (["run", "python", "t.py", "--", "-x"], ["python", "t.py", "--", "-x"]),
        (["--quiet", "run", "--name", "a", "--", "--odd"], ["--odd"]),
        (["run", "--", "--", "x"], ["--", "x"]),
    ],
)
def test_the_command_is_everything_after_the_dashes(words: list[str], command: list[str], job: Job) -> None:
    assert main(words) == 0
    assert [given for given, _ in job.asked] == [command]


def test_flags_reach_the_monitor(job: Job, home: Path) -> None:
    flags = ["--policy", "enforce", "--fail-on", "error", "--name", "n", "--no-stacks", "--quiet"]
    assert main(["run", *flags, "--overhead", "0.5%", "--", "x"]) == 0
    assert job.asked[0][1] == Options(home, "enforce", "n", False, True, 0.005)
    assert main(["run", "--", "x"]) == 0
    assert job.asked[1][1] == Options(home, "observe", "", True, False)
    assert main(["run", "--overhead", "70%", "--", "x"]) == 2
    assert main(["run", "--hang-after", "900", "--", "x"]) == 0
    assert job.asked[2][1] == Options(home, "observe", "", True, False, 0.01, 900.0)


def test_reference_files_are_read_before_the_launch(job: Job, tmp_path: Path, capsys: Captured) -> None:
    good, bad = tmp_path / "good.py", tmp_path / "bad.py"
    good.write_text("def Own(param, grad, *, lr):\n    return {'param': param - lr * grad}\n")
    bad.write_text("import os\n")
    words = ["run", "--optimizer-reference", str(good)]
    assert main([*words, *words[1:], "--", "x"]) == 0
    first, second = job.asked[0][1].references
    assert (first.path, first.text) == (second.path, second.text) == (str(good), good.read_text())  # type: ignore[attr-defined]
    assert first.digest == str(Digest.of(good.read_bytes()))  # type: ignore[attr-defined]
    capsys.readouterr()
    assert main([*words, "--optimizer-reference", str(bad), "--", "x"]) == 2
    told = capsys.readouterr().err
    assert "an import is not allowed beside the functions (line 1)" in told
    assert f"{bad}:1" in told
    assert "one function per optimizer class" in told
    assert main(["run", "--optimizer-reference", str(tmp_path / "none.py"), "--", "x"]) == 2
    assert "cannot be read" in capsys.readouterr().err
    assert len(job.asked) == 1


def test_a_service_that_was_asked_for_and_is_not_there(job: Job, tmp_path: Path, capsys: Captured) -> None:
    socket = str(tmp_path / "none.sock")
    assert main(["run", "--monitor", socket, "--", "x"]) == 2
    told = capsys.readouterr().err
    assert "service cannot be reached" in told
    assert "--monitor none" in told
    assert job.asked == []
    assert main(["run", "--monitor", "none", "--", "x"]) == 0
    assert len(job.asked) == 1


def test_a_service_that_merely_is_there_does_not_keep_the_job_from_running(
    job: Job, tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = (tmp_path / "none.sock", False)
    monkeypatch.setattr("veracity.cli.run.service_of", lambda arguments: found)
    assert main(["run", "--", "x"]) == 0
    told = capsys.readouterr().err
    assert "service cannot be reached" in told
    assert "recorded by this account instead" in told
    assert main(["run", "--policy", "enforce", "--", "x"]) == 2
    assert len(job.asked) == 1


@pytest.mark.parametrize("seconds", ["0", "-5", "nan", "inf", "soon"])
def test_impossible_times_are_refused(job: Job, capsys: Captured, seconds: str) -> None:
    assert main(["run", "--hang-after", seconds, "--", "x"]) == 2
    assert "between 1 and 1000000 seconds" in capsys.readouterr().err
    assert job.asked == []


def test_standard_output_stays_the_jobs_own(job: Job, capsys: Captured) -> None:
    assert main(["run", "--", "x"]) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"veracity: held  {samples.RUN}")
    assert main(["run", "--quiet", "--", "x"]) == 0
    assert capsys.readouterr().err == ""


def test_a_result_can_be_asked_for(job: Job, tmp_path: Path, capsys: Captured) -> None:
    assert main(["run", "--format", "json", "--", "x"]) == 0
    assert json.loads(capsys.readouterr().out)["verdict"] == "held"
    assert main(["run", "--output", str(tmp_path / "run.txt"), "--", "x"]) == 0
    assert (tmp_path / "run.txt").read_text().startswith("held  ")


def test_a_command_that_is_not_there_gives_the_shells_code(job: Job, capsys: Captured) -> None:
    assert main(["run", "--", "missing"]) == 127
    assert "what to do: check the name" in capsys.readouterr().err


def test_the_commands_exit_code_is_passed_on(job: Job) -> None:
    job.result = Result(samples.RUN, 7, samples.broken())
    assert main(["run", "--", "x"]) == 7
    assert main(["run", "--fail-on", "error", "--", "x"]) == 1


NOTED = dataclasses.replace(samples.held(), findings=(samples.STALL,))


@pytest.mark.parametrize(
    ("summary", "fail_on", "code"),
    [
        (samples.held(), "note", 0),
        (samples.broken(), None, 0),
        (samples.broken(), "error", 1),
        (samples.incomplete(), "error", 1),
        (samples.unfinished(), "error", 1),
        (NOTED, "error", 0),
        (NOTED, "warning", 1),
        (NOTED, "note", 1),
    ],
)
def test_fail_on(summary: RunSummary, fail_on: str | None, code: int) -> None:
    assert exit_code_of(summary, 0, fail_on) == code


def test_a_witness_that_did_not_sign_is_told(
    job: Job, capsys: pytest.CaptureFixture[str], home: Path
) -> None:
    job.result.uncosigned = ("w.example: cannot be reached",)
    assert main(["run", "--", "true"]) == 0
    assert "not cosigned: w.example: cannot be reached" in capsys.readouterr().err
    twice = ["--witness", f"http://a={KEY.vkey}", "--witness", f"http://b={KEY.vkey}"]
    assert main(["run", *twice, "--", "true"]) == 2
    assert "twice" in capsys.readouterr().err
    for words in ("nonsense", f"ftp://h={KEY.vkey}", f"http://[h={KEY.vkey}", f"http://h:x={KEY.vkey}"):
        assert main(["run", "--witness", words, "--", "true"]) == 2
        assert "not a witness" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("standing", "more", "kind"),
    [
        ("not approved", {}, VerificationError),
        ("refused", {"unread": ["code: x"]}, VerificationError),
        ("approved", {"outside": ["/other.py"]}, VerificationError),
        ("approved", {"unread": ["code: x"]}, EvidenceError),
        ("unknown", {}, EvidenceError),
    ],
)
def test_a_refusal_says_whether_it_is_known(standing: str, more: dict[str, Any], kind: type[Error]) -> None:
    checked = SealChecked(monitor_origin(1), "seal-1", "sha256:00", standing, [], **more)
    error = refusal(checked, [*refusals(checked), *map(str, range(100))])
    assert type(error) is kind
    assert len(str(error).splitlines()) == 32


def test_a_witness_policy_says_whom_to_ask(job: Job, tmp_path: Path, home: Path) -> None:
    other = WitnessKey(SigningKey.generate("w2").verifier)
    lines = [f"witness a {KEY.vkey} http://10.0.0.5:8765", f"witness b {other.vkey}", "group two 2 a b"]
    file = tmp_path / "witnesses.policy"
    file.write_text("\n".join([*lines, "quorum two", ""]))
    words = ["run", "--witness-policy", str(file)]
    assert main([*words, "--", "true"]) == 2  # b has no address, and two are needed
    assert main([*words, "--witness", f"http://10.0.0.6={other.vkey}", "--", "true"]) == 0
    ((_, options),) = job.asked
    assert set(options.witnesses) == {
        KnownWitness("http://10.0.0.5:8765", KEY),
        KnownWitness("http://10.0.0.6", other),
    }
    assert options.witness_policy == Policy.parse(file.read_bytes())
    file.write_text("\n".join([*lines, "quorum a", ""]))
    assert main([*words, "--", "true"]) == 0
    file.write_text("quorum c\n")
    assert main([*words, "--", "true"]) == 2


def test_a_policy_that_was_not_reached_fails_when_asked_to(job: Job, home: Path) -> None:
    job.result.summary = samples.held()
    job.result.witnessed = False
    assert main(["run", "--", "true"]) == 0
    assert main(["run", "--fail-on", "error", "--", "true"]) == 1
    job.result.witnessed = True
    assert main(["run", "--fail-on", "error", "--", "true"]) == 0
