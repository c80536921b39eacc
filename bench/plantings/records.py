"""Plantings in the record of a run: what an insider does to it, and what a third party is shown."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import veracity
from veracity.core.errors import VerificationError
from veracity.ledger import bundle
from veracity.ledger.entry import Entry
from veracity.ledger.keys import KEY_FILE, KEY_NAME, SigningKey
from veracity.ledger.merkle import leaf_hash, tree_root
from veracity.ledger.proof import LogProof
from veracity.ledger.reader import Reader
from veracity.ledger.store import Ledger
from veracity.ledger.tile import WIDTH, Place, encode_bundle, encode_tile, width_at
from veracity.ledger.tree_head import TreeHead
from veracity.ledger.witness.asking import KnownWitness, ask
from veracity.ledger.witness.cosignature import WitnessKey
from veracity.ledger.witness.cosigned import Record as Whole
from veracity.ledger.witness.cosigned import verify_policy
from veracity.ledger.witness.policy import Policy

from .planting import Row

NAMES = ("one", "two")


@dataclass
class Record:
    """A home with one finished run that two witnesses have cosigned; in copies of it things are changed."""

    root: Path
    home: Path
    run: str
    policy: Path
    known: dict[str, KnownWitness] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return self.home / "runs" / self.run

    @property
    def ledger(self) -> Path:
        """The record itself."""
        return self.folder / "ledger"

    @property
    def key(self) -> SigningKey:
        """The home's key: an insider who owns the host has it."""
        return SigningKey.load(self.home / KEY_FILE, KEY_NAME)

    def entries(self) -> list[bytes]:
        """All of them."""
        with Reader(self.ledger) as reader:
            return list(reader.entries())

    def head(self) -> TreeHead:
        """The newest tree head."""
        with Reader(self.ledger) as reader:
            return reader.tree_head

    def copied(self, name: str) -> Record:
        """The same in a folder of its own."""
        folder = self.root / "copies" / name
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.home, folder / "home", symlinks=True)
        return replace(self, root=folder, home=folder / "home")

    def ask(self, *words: str | Path) -> tuple[int, str]:
        """A command of ours: its exit code and all that it said."""
        done = ours("--home", self.home, *words)
        return done.returncode, done.stdout + done.stderr

    def verify(self) -> tuple[int, str]:
        """Without witnesses, as whoever has the files alone."""
        return self.ask("verify", self.run)

    def verify_witnessed(self) -> tuple[int, str]:
        """By the verifier's own policy: both witnesses."""
        return self.ask("verify", self.run, "--witness-policy", self.policy)

    def packed(self) -> Path:
        """A bundle of it."""
        target = self.root / "case.zip"
        target.unlink(missing_ok=True)
        code, said = self.ask("bundle", self.run, "--output", target)
        if code:
            raise RuntimeError(f"it cannot be packed: {said}")
        return target

    def third_party(self, archive: Path) -> tuple[int, str]:
        """What verify_evidence.py says to somebody who has key and policy from elsewhere."""
        checker = Path(bundle.__file__).with_name("verify_evidence.py")
        key = self.root / "reader.vkey"
        key.write_text(self.key.verifier.vkey + "\n")
        words: list[str | Path] = [
            sys.executable,
            "-I",
            "-S",
            checker,
            archive,
            "--key",
            key,
            "--witness-policy",
            self.policy,
        ]
        done = subprocess.run(words, capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr


def ours(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a command of ours."""
    environment = {**os.environ, "PYTHONPATH": str(Path(veracity.__file__).parents[1])}
    command = [sys.executable, "-m", "veracity.cli.main", *map(str, words)]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


@contextmanager
def witness(name: str, state: Path, log: Path) -> Iterator[KnownWitness]:
    """``veracity witness`` as a process of its own."""
    words = [
        "witness",
        "--name",
        f"{name}.example",
        "--log",
        log,
        "--listen",
        "127.0.0.1:0",
        "--state",
        state,
    ]
    environment = {**os.environ, "PYTHONPATH": str(Path(veracity.__file__).parents[1])}
    process = subprocess.Popen(
        [sys.executable, "-m", "veracity.cli.main", *map(str, words)],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    with process:
        try:
            if process.stdout is None or process.stderr is None:
                raise RuntimeError("the witness says nothing")
            key = WitnessKey.parse(process.stdout.readline())
            told = re.search(r"(http://\S+)/add-checkpoint", process.stderr.readline())
            if told is None:
                raise RuntimeError("the witness does not say where it listens")
            yield KnownWitness(told[1], key)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(20)


@contextmanager
def recorded(root: Path, command: Sequence[str | Path]) -> Iterator[Record]:
    """The record of ``command``, while its witnesses are there."""
    home = root / "home"
    ours("--home", home, "run", "--quiet", "--", "true")  # the home gets its key with its first run
    log = root / "log.vkey"
    log.write_text(SigningKey.load(home / KEY_FILE, KEY_NAME).verifier.vkey + "\n")
    with witness("one", root / "one", log) as first, witness("two", root / "two", log) as second:
        lines = [f"witness {n} {w.key.vkey} {w.url}\n" for n, w in zip(NAMES, (first, second), strict=True)]
        policy = root / "witnesses.policy"
        policy.write_text("".join(lines) + "group both all one two\nquorum both\n")
        before = set((home / "runs").iterdir())
        flags = ("--quiet", "--no-stacks", "--witness-policy", policy)
        done = ours("--home", home, "run", *flags, "--", *command)
        made = [one.name for one in set((home / "runs").iterdir()) - before]
        if done.returncode or len(made) != 1:
            raise RuntimeError(f"the run was not recorded: {done.stderr[-2000:]}")
        yield Record(root, home, made[0], policy, dict(zip(NAMES, (first, second), strict=True)))


# --- changes -----------------------------------------------------------------------------------------------


def rewrite(record: Record, entries: Sequence[bytes], *, tiles: bool = False) -> None:
    """Write the entries at the places of those there are; ``tiles``: the leaves' hashes, too.

    The journal, from which the writer itself would restore them, is gone.
    """
    size = record.head().size
    (record.ledger / "journal").unlink(missing_ok=True)
    for index in range(-(-size // WIDTH)):
        width = width_at(size, 0, index)
        some = entries[index * WIDTH : index * WIDTH + width]
        (record.ledger / Place(None, index, width).path()).write_bytes(encode_bundle(some))
        if tiles:
            leaves = encode_tile([leaf_hash(one) for one in some])
            (record.ledger / Place(0, index, width).path()).write_bytes(leaves)


def edited(record: Record, at: int) -> list[bytes]:
    """All entries, and another body in one of them."""
    entries = record.entries()
    body = {**Entry.decode(entries[at]).body, "planted": True}
    entries[at] = Entry(Entry.decode(entries[at]).kind, body).encode()
    return entries


def without(record: Record, at: int) -> list[bytes]:
    """All entries but one."""
    entries = record.entries()
    del entries[at]
    return entries


def first(record: Record, at: int) -> list[bytes]:
    """The first ones."""
    return record.entries()[:at]


def reordered(record: Record, at: int) -> list[bytes]:
    """Two neighbours in each other's place."""
    entries = record.entries()
    entries[at], entries[at + 1] = entries[at + 1], entries[at]
    return entries


def change(make: Callable[[Record, int], list[bytes]], at: int, *, tiles: bool = False) -> Change:
    """An edit of the files alone, by whoever has no key."""
    return lambda record: rewrite(record, make(record, at), tiles=tiles)


def resigned(make: Callable[[Record, int], list[bytes]], at: int) -> Change:
    """A ledger made anew with the home's own key: the insider owns host and key."""

    def again(record: Record) -> None:
        entries, origin = make(record, at), record.head().origin
        shutil.rmtree(record.ledger)
        with Ledger.create(record.ledger, origin, record.key) as ledger:
            for entry in entries:
                ledger.append(entry)

    return again


def cut_file(record: Record) -> None:
    (record.ledger / "journal").unlink()
    path = record.ledger / Place(None, 0, width_at(record.head().size, 0, 0)).path()
    path.write_bytes(path.read_bytes()[:-7])


def cut_journal(record: Record) -> None:
    path = record.ledger / "journal"
    path.write_bytes(path.read_bytes()[:-100])


def flip_journal(record: Record) -> None:
    path = record.ledger / "journal"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def payload(record: Record, what: str) -> None:
    """Evidence that entries point to, under a tree that nobody touched."""
    blobs = sorted((record.folder / "blobs").iterdir())
    if what == "edited":
        blobs[0].chmod(0o600)
        blobs[0].write_bytes(blobs[0].read_bytes()[:-1] + b"!")
    elif what == "emptied":
        blobs[0].chmod(0o600)
        blobs[0].write_bytes(b"")
    else:
        first, second = blobs[0].read_bytes(), blobs[1].read_bytes()
        for path, data in ((blobs[0], second), (blobs[1], first)):
            path.chmod(0o600)
            path.write_bytes(data)


Change = Callable[[Record], object]
Ask = Callable[[Record], tuple[int, str]]


@dataclass(frozen=True, slots=True)
class Case:
    """A change of a record, who is asked, and what they must say; ``code``: with which exit code."""

    what: str
    variant: str
    plant: Change
    asked: Ask
    said: str
    code: int = 1
    by: str = "verify"


EDITED, DELETED, REORDERED = "an edited entry", "a deleted entry", "a reordered entry"
TRUNCATED, PAYLOAD = "a truncated record", "a payload edited under an intact tree"
FORKED, ROLLED = "a forked log shown to two witnesses", "a rolled-back witness"
FOREIGN = "a bundle with a foreign proof"
PARTY = "verify_evidence.py"
VERIFY, WITNESSED = Record.verify, Record.verify_witnessed
SEEN = "cosigned another record"
NOT_THOSE = r"not those in the tree|not the one the tree head signs"
DAMAGED = r"the journal is damaged at entry \d+|gone from the journal"


def in_bundle(plant: Callable[[dict[str, bytes]], object]) -> Ask:
    """Pack it, change members of the archive, and ask the third party's program."""

    def asked(record: Record) -> tuple[int, str]:
        with zipfile.ZipFile(record.packed()) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        plant(members)
        with zipfile.ZipFile(record.root / "changed.zip", "w") as archive:
            for name, data in members.items():
                archive.writestr(name, data)
        return record.third_party(record.root / "changed.zip")

    return asked


def entries_in(members: dict[str, bytes]) -> str:
    return next(name for name in members if name.startswith("ledger/tile/entries/"))


def edit_member(members: dict[str, bytes]) -> None:
    name = entries_in(members)
    members[name] = members[name].replace(b'"k":', b'"K":', 1)


def edit_payload(members: dict[str, bytes]) -> None:
    name = next(name for name in members if name.startswith("blobs/"))
    members[name] += b"!"


def foreign_head(record: Record) -> tuple[int, str]:
    """The signed head of another log of the same key and as many entries."""
    head = record.head()
    other = TreeHead.sign("veracity.local/another", head.size, bytes(32), record.key).signed
    return in_bundle(lambda members: members.update({"ledger/checkpoint": other}))(record)


def foreign_cosignature(record: Record) -> tuple[int, str]:
    """What the witnesses signed for another record of this key."""
    head = record.head()
    leaves = [leaf_hash(b"another")]
    other = TreeHead.sign("veracity.local/another", 1, leaves[0], record.key)
    lines = b"".join(
        ask(one, other, leaves).signed.removeprefix(other.signed) for one in record.known.values()
    )
    return in_bundle(lambda members: members.update({"ledger/checkpoint": head.signed + lines}))(record)


def own_key(record: Record) -> tuple[int, str]:
    """Everything made anew under a key of one's own, which lies in the bundle."""
    key = SigningKey.generate(KEY_NAME)
    head = record.head()
    signed = TreeHead.sign(head.origin, head.size, head.root, key).signed
    mine = {"ledger/checkpoint": signed, "ledger.vkey": key.verifier.vkey.encode() + b"\n"}
    return in_bundle(lambda members: members.update(mine))(record)


def proof_with(alter: Callable[[LogProof, Record], LogProof]) -> Ask:
    """Write the proof of an entry, alter it, and verify it with the log's key and policy."""

    def asked(record: Record) -> tuple[int, str]:
        path, key = record.root / "two.tlog-proof", record.root / "log.vkey"
        code, said = record.ask("bundle", record.run, "--entry", "2", "--output", path)
        if code:
            raise RuntimeError(said)
        key.write_text(record.key.verifier.vkey + "\n")
        path.write_bytes(alter(LogProof.decode(path.read_bytes()), record).encode())
        return record.ask("verify", path, "--key", key, "--witness-policy", record.policy)

    return asked


def other_head(proof: LogProof, record: Record) -> LogProof:
    origin, size = "veracity.local/another", proof.head.size
    return replace(proof, head=TreeHead.sign(origin, size, proof.head.root, record.key))


def nothing(record: Record) -> None:
    """The record stays as it is: it is what is made of it that is changed."""


CASES = [
    Case(EDITED, "in its file", change(edited, 3), VERIFY, "entry 3 is not the one in the tree"),
    Case(EDITED, "and its hash in the tile", change(edited, 3, tiles=True), VERIFY, NOT_THOSE),
    Case(EDITED, "in the journal", flip_journal, VERIFY, DAMAGED, 2),
    Case(EDITED, "signed anew with the log's key", resigned(edited, 3), WITNESSED, SEEN),
    Case(EDITED, "in a bundle", nothing, in_bundle(edit_member), "root over the .* entries is not", 1, PARTY),
    Case(DELETED, "from the middle", change(without, 2), VERIFY, "entry 2 is not the one in the tree"),
    Case(DELETED, "and its hash", change(without, 2, tiles=True), VERIFY, "the tile over entries", 2),
    Case(DELETED, "the last one", change(without, -1), VERIFY, r"entry \d+ is missing", 2),
    Case(DELETED, "signed anew with the log's key", resigned(without, 2), WITNESSED, SEEN),
    Case(REORDERED, "neighbours", change(reordered, 2), VERIFY, "entry 2 is not the one in the tree"),
    Case(REORDERED, "and their hashes", change(reordered, 2, tiles=True), VERIFY, NOT_THOSE),
    Case(REORDERED, "signed anew with the log's key", resigned(reordered, 2), WITNESSED, SEEN),
    Case(TRUNCATED, "within an entry", cut_file, VERIFY, r"entr", 2),
    Case(TRUNCATED, "the journal", cut_journal, VERIFY, DAMAGED, 2),
    Case(TRUNCATED, "signed anew with the log's key", resigned(first, 4), WITNESSED, SEEN),
    Case(PAYLOAD, "a byte", partial(payload, what="edited"), VERIFY, r"payload of entry \d+"),
    Case(PAYLOAD, "emptied", partial(payload, what="emptied"), VERIFY, r"payload of entry \d+"),
    Case(PAYLOAD, "two exchanged", partial(payload, what="exchanged"), VERIFY, r"payload of entry \d+"),
    Case(PAYLOAD, "in a bundle", nothing, in_bundle(edit_payload), r"payload of entry \d+", 1, PARTY),
    Case(FOREIGN, "another log's tree head", nothing, foreign_head, "root over the .* is not", 1, PARTY),
    Case(FOREIGN, "another log's cosignatures", nothing, foreign_cosignature, "too few have", 1, PARTY),
    Case(FOREIGN, "a key of one's own", nothing, own_key, "no signature of veracity.local holds", 1, PARTY),
    Case(FOREIGN, "a proof of another place", nothing,
         proof_with(lambda one, record: replace(one, index=3)), "leads to another root|too long|too short"),
    Case(FOREIGN, "another entry behind a proof", nothing,
         proof_with(lambda one, record: replace(one, extra=record.entries()[1])), "leads to another root"),
    Case(FOREIGN, "another log's head under a proof", nothing, proof_with(other_head), "too few witnesses"),
]  # fmt: skip


def try_records(record: Record) -> Iterator[Row]:
    """Change copies of the record, and ask; then what the witnesses themselves are shown."""
    clean = [
        ("verify", record.verify()), ("verify --witness-policy", record.verify_witnessed()),
        ("verify_evidence.py", record.third_party(record.packed())),
    ]  # fmt: skip
    for by, (code, said) in clean:
        yield Row("the record as it is", by, by, unasked=(said[-300:],) if code else ())
    for number, case in enumerate(CASES):
        copy = record.copied(str(number))
        case.plant(copy)
        code, said = case.asked(copy)
        found = code == case.code and re.search(case.said, said) is not None
        yield Row(case.what, case.variant, case.by, () if found else (f"{code}: {said[-300:]}",))
    yield from _forked(record)
    yield from _rolled_back(record)


def _refused(what: str, variant: str, word: str, work: Callable[[], object]) -> Row:
    try:
        work()
    except VerificationError as error:
        said = str(error)
        return Row(what, variant, "witness", () if re.search(word, said) else (said,))
    return Row(what, variant, "witness", ("nothing was said",))


def signed_head(leaves: Sequence[bytes], origin: str, key: SigningKey) -> TreeHead:
    """What an insider with the log's key signs."""
    return TreeHead.sign(origin, len(leaves), tree_root(leaves), key)


def _forked(record: Record) -> Iterator[Row]:
    """Both witnesses have the true record; each is shown others."""
    head, key = record.head(), record.key
    true = [leaf_hash(one) for one in record.entries()]
    planted = leaf_hash(b"planted")
    for variant, changed, word in (
        ("an early entry", [planted, *true[1:]], "another tree"),
        ("the last entry", [*true[:-1], planted], "another tree"),
        ("longer", [planted, *true[1:], planted], "another history"),
        ("shorter", true[:-1], r"has seen \d+ entries"),
    ):
        fork = signed_head(changed, head.origin, key)
        for name, one in record.known.items():
            yield _refused(FORKED, f"{variant}: {name}", word, partial(ask, one, fork, changed))


def _rolled_back(record: Record) -> Iterator[Row]:
    """The first witness gets its state of an hour ago back; the second keeps its own."""
    origin, key = f"{KEY_NAME}/rolled-back", record.key
    true = [leaf_hash(b"%d" % number) for number in range(70)]
    fork = [*true[:50], *(leaf_hash(b"planted %d" % number) for number in range(20))]
    one, two = record.known.values()
    state = record.root / "one" / f"{hashlib.sha256(origin.encode()).hexdigest()}.log"
    for known in (one, two):
        ask(known, signed_head(true[:50], origin, key), true)
    before = state.read_bytes()
    seen = [ask(known, signed_head(true[:60], origin, key), true) for known in (one, two)]
    state.write_bytes(before)
    grown = signed_head(true, origin, key)
    yield _refused(
        ROLLED, "the log has its signature", "was set back", partial(ask, one, grown, true, old=60, signed=60)
    )
    forked = signed_head(fork[:60], origin, key)
    ask(one, forked, fork)  # it has forgotten, and cannot know
    yield _refused(ROLLED, "the other witness is asked", "another tree", partial(ask, two, forked, fork))
    policy = Policy.requiring([one.key])
    held = Whole(key.verifier, origin, fork[:60])
    yield _refused(ROLLED, "a reader has its signature", SEEN, partial(verify_policy, policy, seen[:1], held))
