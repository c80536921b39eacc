"""The service among real accounts: what a job's user gets from it, and what he cannot do to it."""

from __future__ import annotations

import os
import signal
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.jobs.conftest import TRAIN as TRAINS
from tests.knowledge import warmed
from tests.monitor.service.world import World, document, everything_in, wait_for
from veracity.core.verdict import Outcome
from veracity.drill.demo import DemoSize
from veracity.drill.sabotage import BIAS_CORRECTION
from veracity.drill.shadow import build_shadow, edited_text, shadow_environment
from veracity.drill.victim import victim_path
from veracity.monitor.service.protocol import VERSION
from veracity.monitor.summary import load_summary
from veracity.monitor.verify import verify_run

pytestmark = pytest.mark.serial

TRAIN = f"\n    import sys{TRAINS}"

# Runs as a job's user, in a guarded process of hers: frames as a guard would write them.
FORGE = """
    import json, os, sys, time
    config = json.load(open(os.environ["VERACITY_GUARD"]))
    sys.path.insert(0, config["archive"])
    from _veracity_guard.core.wire import pack

    def spool(token="0badc0de"):
        return open(f"{config['spool']}/{os.getpid()}-{token}.000000.spool", "ab", buffering=0)

    hello = dict(ppid=os.getppid(), role="rank", executable=sys.executable, python="3.11.2", torch="2.13.0",
                 optimize=0, ids={}, numerics={})
"""


@pytest.fixture
def secret(world: World) -> Iterator[tuple[Path, bytes]]:
    """A file that only root and the service's account can read, with a text that is found nowhere else."""
    words = os.urandom(16).hex()
    path = world.folder / "state" / "secret.py"
    path.write_text(f"key = '{words}'\n")
    os.chown(path, world.veracity.uid, world.veracity.uid)
    path.chmod(0o600)
    yield path, words.encode()
    path.unlink()


def test_a_run_is_passed_on_and_recorded_by_the_other_account(world: World) -> None:
    done = world.call(world.alice, "run", "--", "sh", "-c", "echo out; echo err >&2; kill -TERM $$")
    assert done.returncode == 128 + signal.SIGTERM
    assert done.stdout == "out\n"
    own, alice = world.veracity, world.alice
    worth = f"(recorded by the account {own.name} (uid {own.uid}), job ran as uid {alice.uid})"
    assert worth in done.stderr
    assert "err\n" in done.stderr
    summary = world.summary(alice)
    assert (summary.user, summary.ran_as, summary.same_account) == (alice.name, alice.uid, False)
    assert [(one.role, one.how, one.code) for one in summary.processes] == [("root", "signalled", 15)]
    assert f"over {summary.entries} entries is signed" in verify_run(world.runs(alice)[-1])[0]
    opened = world.events("opened")[-1]
    assert (opened["run"], opened["uid"]) == (summary.run, alice.uid)
    wait_for(lambda: [one["run"] for one in world.events("closed")][-1:] == [summary.run])
    assert world.events("closed")[-1]["size"] == summary.entries
    shown = world.call(alice, "show", "--format", "json")
    assert document(shown.stdout)["headline"] == f"broken  {summary.run}  {worth}"
    listed = world.call(alice, "runs")
    assert summary.run in listed.stdout
    report = world.call(alice, "report", summary.run, "--output", "report.html")
    assert report.returncode == 0
    assert worth in (alice.folder / "report.html").read_text()


def test_what_cannot_be_started_is_recorded_too(world: World) -> None:
    done = world.call(world.alice, "run", "--", "no-such-command")
    assert done.returncode == 127
    wait_for(lambda: world.summary(world.alice).exit_code == 127)


def test_signals_reach_the_job_and_stand_in_the_record(world: World) -> None:
    text = "trap 'echo got it; exit 5' USR1; echo ready; while :; do sleep 0.05; done"
    process = world.popen(world.alice, *world.veracity_command("run", "--", "sh", "-c", text))
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGUSR1)
    out, _ = process.communicate(timeout=60)
    assert (process.returncode, out) == (5, "got it\n")
    assert b'"SignalForwarded"' in entries(world)


def test_training_holds_and_sabotage_breaks_it(world: World, knowledge: Path) -> None:
    home = world.home / "accounts" / str(world.alice.uid)
    home.mkdir(parents=True, exist_ok=True)
    if not (home / "cache").exists():
        warmed(knowledge, home)
        for sources in (home / "sources").iterdir():
            copy = sources.read_bytes()
            sources.unlink()  # a link to what other tests use
            sources.write_bytes(copy)
    for path in (home, *home.rglob("*")):
        os.chown(path, world.veracity.uid, world.veracity.uid)
    clean = world.write(
        world.alice, "clean.py", TRAIN + "    steps(40)\n    print('done')\n    sys.exit(3)\n"
    )
    done = world.call(world.alice, "run", "--", world.python, clean)
    summary = world.summary(world.alice)
    assert summary.verdict is not None
    assert (summary.verdict.outcome, summary.gaps) == (Outcome.HELD, ()), (done.stderr, summary.verdict)
    assert (done.returncode, done.stdout) == (3, "done\n")
    assert summary.coverage["code-identity"].checked > 500
    planted = "    steps(20)\n    with torch.no_grad():\n        model.weight.add_(0.01)\n    steps(20)\n"
    broken = world.write(world.alice, "broken.py", TRAIN + planted + "    print('done')\n")
    done = world.call(world.alice, "run", "--", world.python, broken)
    assert (done.returncode, done.stdout) == (0, "done\n")
    summary = world.summary(world.alice)
    assert summary.verdict is not None
    assert summary.verdict.outcome is Outcome.BROKEN
    assert "continuity-weights-changed" in {finding.rule for finding in summary.findings}


@pytest.mark.soak
def test_the_drills_victim_holds_and_breaks_with_an_edited_optimizer(world: World) -> None:
    """As `veracity demo` has it, in a home of the account that knows nothing yet."""
    torch = pytest.importorskip("torch")
    folder = world.folder / "shadow"
    file, text = edited_text(Path(torch.__file__).parent, BIAS_CORRECTION)
    shadow = build_shadow(Path(torch.__file__).parent, folder, {file: text})
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | (0o755 if path.is_dir() else 0o644))
    size = DemoSize()
    flags = (*size.flags, "--steps", str(size.steps), "--decay-steps", str(size.steps), "--save-every", "0")
    words = [str(world.python), str(victim_path("chargpt")), *flags, "--eval-every", "0", "--out-dir"]
    # What lies beside torch may have been compiled by another patch release, which compiles otherwise.
    compiled = {"PYTHONPYCACHEPREFIX": str(world.bob.folder / "compiled")}
    done = world.call(world.bob, "run", "--", *words, "clean", **compiled)
    summary = load_summary(world.runs(world.bob)[-1])
    assert (done.returncode, summary.exit_code) == (0, 0), done.stderr
    assert "step" in done.stdout
    assert summary.verdict is not None
    assert summary.verdict.outcome is Outcome.HELD, (summary.verdict, summary.gaps)
    before_torch = str(shadow_environment(world.environment(world.bob), shadow)["PYTHONPATH"])
    done = world.call(world.bob, "run", "--", *words, "broken", PYTHONPATH=before_torch, **compiled)
    summary = load_summary(world.runs(world.bob)[-1])
    assert done.returncode == 0
    assert summary.verdict is not None
    assert summary.verdict.outcome is Outcome.BROKEN
    assert {BIAS_CORRECTION.rule, "code-loaded-elsewhere"} <= {one.rule for one in summary.findings}


def test_the_jobs_user_reads_and_changes_nothing_of_the_record(world: World) -> None:
    """Also of a run that goes on, whose keeper has her account's number."""
    process = world.popen(
        world.alice, *world.veracity_command("run", "--", "sh", "-c", "echo on; exec sleep 60")
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "on\n"
    run = world.runs(world.alice)[-1]
    paths = [world.home, world.home / "key.pem", run, *sorted(run.rglob("*"))]
    before = everything_in(run / "blobs"), (world.home / "key.pem").read_bytes()
    (keeper,) = world.keepers()
    done = world.script(
        world.alice,
        """
        import ctypes, json, os, resource, sys
        keeper, archive, paths = int(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])
        did = []

        def attempt(what, call, *words):
            try:
                call(*words)
            except OSError:
                return
            did.append(what)

        for path in paths:
            attempt(f"read {path}", os.open, path, os.O_RDONLY)
            attempt(f"write {path}", os.open, path, os.O_WRONLY)
            attempt(f"truncate {path}", os.truncate, path, 0)
            attempt(f"replace {path}", os.rename, "/dev/null", path)
            attempt(f"remove {path}", os.unlink, path)
            attempt(f"list {path}", os.listdir, path)
        for name in ("mem", "environ", "maps", "fd", "cwd", "root", "auxv", "syscall"):
            attempt(f"keeper's {name}", os.listdir if name == "fd" else open, f"/proc/{keeper}/{name}")
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.ptrace(16, keeper, 0, 0) == 0:
            did.append("attach")
        attempt("limit", resource.prlimit, keeper, resource.RLIMIT_FSIZE, (0, 0))
        attempt("guard", os.open, archive, os.O_WRONLY)
        attempt("guard's folder", open, os.path.dirname(archive) + "/new", "w")
        attempt("socket's folder", open, os.path.dirname(os.path.dirname(archive)) + "/new", "w")
        print(json.dumps(did))
        """,
        str(keeper),
        str(next((world.folder / "run").glob("guard-*/*.zip"))),
        str([str(path) for path in paths]).replace("'", '"'),
    )
    assert done.stdout == "[]\n"
    assert (everything_in(run / "blobs"), (world.home / "key.pem").read_bytes()) == before
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert verify_run(run)


def test_the_service_reads_nothing_for_a_user_that_she_cannot_read(
    world: World, secret: tuple[Path, bytes]
) -> None:
    """By what a guard says: checkpoints, modules, functions, metric files, stacks; by links to them."""
    path, words = secret
    program = world.write(
        world.alice,
        "forge.py",
        FORGE
        + f"""
    secret = {str(path)!r}
    os.symlink(secret, "link.py")
    os.symlink(secret, "metrics.jsonl")
    os.mkfifo("pipe.py")
    out = spool()
    numbers = iter(range(1000))

    def say(kind, **body):
        out.write(pack(kind, next(numbers), time.time_ns(), body))

    say("hello", **hello)
    for name in (secret, "/etc/shadow", os.path.abspath("link.py"), os.path.abspath("pipe.py"),
                 f"/proc/{{os.getppid()}}/root{{secret}}", f"/proc/self/root{{secret}}"):
        say("module", module="m", path=name, cached="", loader="SourceFileLoader", captured="source",
            sha256="0" * 64, reason="")
        say("loaded", path=name, step=-1, tensors=[], truncated=False)
        say("metrics", path=name)
    time.sleep(1.5)
    """,
    )
    done = world.call(world.alice, "run", "--", world.python, program)
    assert done.returncode == 0, done.stderr
    run = world.runs(world.alice)[-1]
    record = entries(world) + everything_in(run)
    assert path.name.encode() in record, "what was asked for has reached the service"
    assert words not in record
    assert b"root:" not in record.replace(b"root:x:", b"")
    for answer in (world.call(world.alice, "show"), world.call(world.alice, "show", "--format", "json")):
        assert words.decode() not in answer.stdout


@pytest.mark.parametrize("place", ["state", "/etc", "relative", "link", "open", "full", "missing", "of bob"])
def test_places_that_are_not_the_callers_alone(world: World, place: str) -> None:
    alice = world.alice
    own = alice.folder / "places"
    if not own.exists():
        world.script(
            alice,
            """
            import os
            os.mkdir("places", 0o700)
            os.symlink("..", "places/link")
            os.mkdir("places/open"); os.chmod("places/open", 0o777)
            os.makedirs("places/full/inside"); os.chmod("places/full", 0o700)
            """,
        )
    named = {"state": str(world.home), "/etc": "/etc", "relative": "places", "of bob": str(world.bob.folder)}
    done = ask(world, f"Open(['true'], {named.get(place, str(own / place))!r})")
    assert done.startswith("Refused("), done


def entries(world: World) -> bytes:
    """The entries of alice's newest run."""
    from veracity.ledger.reader import Reader

    with Reader(world.runs(world.alice)[-1] / "ledger") as reader:
        return b"\n".join(reader.entries())


def ask(world: World, message: str, user: str = "alice", *, then: str = "") -> str:
    """What the service answers to one message of ``user``'s."""
    text = f"""
    import os, socket, sys
    from veracity.monitor.service.protocol import *
    channel = Channel(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
    channel.connection.connect(os.environ["VERACITY_MONITOR"])
    channel.send({message})
    answer = channel.receive(30, descriptors=True)
    print(repr(answer))
    {then}
    """
    return world.script(getattr(world, user), text).stdout


def test_nobody_sees_or_takes_up_the_runs_of_others(world: World) -> None:
    world.call(world.alice, "run", "--", "true")
    run = world.runs(world.alice)[-1].name
    shown = world.call(world.bob, "show", run)
    assert shown.returncode == 2
    assert "there is no run" in shown.stderr
    # Other tests of the same world may have left runs of his own.
    assert run not in world.call(world.bob, "runs").stdout
    assert run in world.call(world.alice, "runs").stdout
    for message in (f"Resume({run!r})", f"AskSummary({run!r})", "AskSummary('../../x')", "Resume('../x')"):
        assert ask(world, message, "bob").startswith("Refused(")
    process = world.popen(
        world.alice, *world.veracity_command("run", "--", "sh", "-c", "echo on; exec sleep 60")
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "on\n"
    run = world.runs(world.alice)[-1].name
    # Not even she herself by another process than the one that handed over.
    for user in ("alice", "bob"):
        assert ask(world, f"Resume({run!r})", user).startswith("Refused(")
    places = alice_places(world)
    assert places
    assert all(stat.S_IMODE(place.stat().st_mode) == 0o700 for place in places)
    process.terminate()
    process.communicate(timeout=60)
    wait_for(lambda: alice_places(world) == [])


def alice_places(world: World) -> list[Path]:
    """What lies between alice's jobs and the service."""
    folder = world.alice.folder / "home" / "handed"
    return sorted(folder.iterdir()) if folder.is_dir() else []


def test_root_and_the_service_itself_are_no_guests(world: World) -> None:
    done = ask(world, "AskRuns()", "veracity")
    assert "could change the record" in done


def test_a_process_that_is_not_the_callers_child_is_not_taken_for_the_job(world: World) -> None:
    place = world.alice.folder / "claims"
    world.script(world.alice, "import os; os.mkdir('claims', 0o700)")
    then = "channel.send(Started(1)); print(repr(channel.receive(30)))"
    told = ask(world, f"Open(['true'], {str(place)!r})", then=then).splitlines()
    assert told[0].startswith("Opened(")
    assert told[1].startswith("Judged(")
    assert b"is not its child" in entries(world)


def test_a_command_that_is_too_long_for_an_entry_is_cut_in_the_record(world: World) -> None:
    done = world.call(world.alice, "run", "--", "sh", "-c", "exit 0", *["x" * 100] * 700)
    assert done.returncode == 0
    summary = world.summary(world.alice)
    assert summary.command[-1].endswith("words are left out")
    assert (summary.recorder, summary.same_account) == (world.veracity.name, False)


def test_other_versions_and_nonsense_are_refused(world: World) -> None:
    done = world.script(
        world.alice,
        f"""
        import json, os, socket
        for data in (b'{{"v":{VERSION + 1},"k":"AskRuns","b":{{}}}}', b"{{", b"[" * 9000,
                     b'{{"v":{VERSION},"k":"None","b":{{}}}}',
                     b'{{"v":{VERSION},"k":"Open","b":{{"command":[],"place":"/x"}}}}', b"x" * 190000):
            one = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            one.connect(os.environ["VERACITY_MONITOR"])
            one.send(data)
            print(json.loads(one.recv(70000))["b"]["what"])
        """,
    )
    told = done.stdout.splitlines()
    assert told[0] == f"the other side speaks version {VERSION + 1} of the protocol, this one {VERSION}"
    assert len(told) == 6
    assert world.alice.uid in {one["uid"] for one in world.events("refused")}
