"""Having a run's tree heads cosigned by witnesses, while it goes on and when it has ended.

In a thread of its own: a witness that does not answer costs the run its signature and nothing else. What was
cosigned lies in the run's directory as ``cosigned``, the newest head that each witness has seen.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ..core.errors import Error, EvidenceError, VerificationError
from ..core.observation import Gap
from ..core.origin import Origin, Trust
from ..ledger.files import write_private
from ..ledger.merkle import leaf_hash, tree_root
from ..ledger.note import parse_note
from ..ledger.reader import Reader
from ..ledger.tree_head import TreeHead
from ..ledger.witness.asking import KnownWitness, ask
from ..ledger.witness.cosignature import WitnessKey, verify_cosignature
from .folder import RunFolder

ASK_EVERY = 30.0
LAST_SECONDS = 30.0
LAW = "record"
MAX_COSIGNED = 1 << 20
NICENESS = 19


@dataclass(slots=True)
class Witnessing:
    """Asks the witnesses of one run. ``close`` asks them once more, for the whole record."""

    folder: RunFolder
    witnesses: Sequence[KnownWitness]
    _sizes: dict[str, int] = field(default_factory=dict)
    _heads: dict[str, TreeHead] = field(default_factory=dict)
    _leaves: list[bytes] = field(default_factory=list)
    _failures: dict[str, tuple[str, bool]] = field(default_factory=dict)
    _told: set[str] = field(default_factory=set)
    _ended: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to ask, every now and then; nothing happens without witnesses."""
        if self.witnesses:
            self._thread = threading.Thread(target=self._work, name="witnesses", daemon=True)
            self._thread.start()

    def gaps(self) -> Iterator[Gap]:
        """Each witness that could not be had, once. One that saw another history makes the run incomplete."""
        for name, (reason, other) in list(self._failures.items()):
            if name not in self._told or other:
                self._told.add(name)
                self._failures.pop(name, None)
                origin = Origin("monitor", Trust.SERVICE, 0, -1, -1, time.time_ns())
                did = "has seen another history" if other else "did not sign"
                what = f"the witness {name} {did}"
                yield Gap(origin, what, reason, law=LAW, stops=other)

    def close(self) -> list[str]:
        """Have the finished record cosigned; sentences about the witnesses that did not."""
        self._ended.set()
        if self._thread is None:
            return []
        self._thread.join(LAST_SECONDS)
        if self._thread.is_alive():
            return ["the witnesses did not answer in time: the end of the record is not cosigned"]
        self._failures.clear()
        self._ask()
        return [f"{name}: {reason}" for name, (reason, _) in self._failures.items()]

    def _work(self) -> None:
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
        while not self._ended.wait(ASK_EVERY):
            self._ask()

    def _ask(self) -> None:
        try:
            with Reader(self.folder.ledger) as reader:
                head = reader.tree_head
                self._leaves += map(leaf_hash, reader.entries(len(self._leaves), head.size))
        except Error as error:
            self._failures["ledger"] = str(error), False
            return
        for witness in self.witnesses:
            name = witness.key.name
            try:
                self._heads[name] = ask(witness, head, self._leaves, old=self._sizes.get(name, 0))
                self._sizes[name] = head.size
            except VerificationError as error:
                self._failures[name] = str(error), True
            except Error as error:
                self._failures[name] = str(error), False
        if self._heads:
            try:
                write_private(self.folder.cosigned, b"\n".join(one.signed for one in self._heads.values()))
            except OSError as error:
                self._failures["cosigned"] = str(error), False


def verify_cosigned(folder: RunFolder, reader: Reader, keys: Sequence[WitnessKey]) -> list[str]:
    """That each of the witnesses has seen this record; a sentence for each, with how much of it and when.

    Raises VerificationError when one has not, or has seen another one.
    """
    heads = list(_cosigned(folder))
    leaves = [leaf_hash(entry) for entry in reader.entries()] if keys else []
    said = []
    for key in keys:
        seen = [(head, at) for head in heads if (at := _seen(head, key)) is not None]
        if not seen:
            raise VerificationError(
                f"{key.name} has not cosigned this record",
                where=str(folder.cosigned),
                remedy="was the run started with --witness, and could the witness be reached?",
            )
        head, at = max(seen, key=lambda one: one[0].size)
        if head.size > len(leaves) or head.root != tree_root(leaves[: head.size]):
            raise VerificationError(
                f"{key.name} cosigned another record: of {head.size} entries, and these are {len(leaves)}",
                remedy="this ledger was cut back or rewritten: compare it with a copy from elsewhere",
            )
        moment = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(at))
        rest = (
            ""
            if head.size == len(leaves)
            else f"; the {len(leaves) - head.size} behind it only the log signed"
        )
        said.append(f"{key.name} had seen {head.size} entries by {moment}, the same as these{rest}")
    return said


def _cosigned(folder: RunFolder) -> Iterator[TreeHead]:
    try:
        with folder.cosigned.open("rb") as file:
            data = file.read(MAX_COSIGNED)
    except FileNotFoundError:
        return
    except OSError as error:
        raise EvidenceError(f"the cosignatures cannot be read: {error.strerror}") from error
    parts = data.split(b"\n\n")
    # Heads are separated by an empty line, and so are a head's text and its signatures.
    for text, signatures in zip(parts[::2], parts[1::2], strict=False):
        yield TreeHead.parse(text + b"\n\n" + signatures.rstrip(b"\n") + b"\n")


def _seen(head: TreeHead, key: WitnessKey) -> int | None:
    note = parse_note(head.signed)
    if (key.name, key.key_id) not in {(one.name, one.key_id) for one in note.signatures}:
        return None
    return verify_cosignature(note, key)
