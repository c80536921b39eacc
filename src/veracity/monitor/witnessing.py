"""Having a run's tree heads cosigned by witnesses, while it goes on and when it has ended.

In threads of their own, one for each witness: one that does not answer, or never comes to an end of it, costs
the run its signature and nothing else. What was cosigned lies in the run's directory as ``cosigned``, the
newest head that each witness has seen, and beside it as ``witness.policy`` whose signatures were wanted.
Where another account records, witnesses are asked as the job's, and only these files are opened as its own.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ..core.errors import Error, EvidenceError, VerificationError
from ..core.observation import Gap
from ..core.origin import Origin, Trust
from ..ledger.files import write_private
from ..ledger.merkle import leaf_hash
from ..ledger.note import parse_note
from ..ledger.reader import Reader
from ..ledger.tree_head import TreeHead
from ..ledger.witness.asking import KnownWitness, ask
from ..ledger.witness.cosignature import verify_cosignature
from ..ledger.witness.cosigned import MAX_HEADS, read_cosigned, write_cosigned
from ..ledger.witness.policy import Policy
from .accounts import recording
from .folder import RunFolder
from .pace import be_modest

ASK_EVERY = 30.0
ROUND_SECONDS = 25.0
LAST_SECONDS = 2 * ROUND_SECONDS
"""How long the end of a run waits: for the round that goes on, and for the last one."""
LAW = "record"
LEDGER = "ledger"
COSIGNED = "cosigned"
POLICY = "witness.policy"


@dataclass(frozen=True, slots=True)
class _Failure:
    """Why a witness did not sign; ``other``: because it has seen another history."""

    name: str
    reason: str
    other: bool = False


@dataclass(slots=True)
class Witnessing:
    """Asks the witnesses of one run, no two of one key. ``close`` asks them for the whole record."""

    folder: RunFolder
    witnesses: Sequence[KnownWitness]
    policy: Policy | None = None
    _heads: dict[KnownWitness, TreeHead] = field(default_factory=dict)
    _earlier: list[TreeHead] = field(default_factory=list)
    _whole: TreeHead | None = None
    _leaves: list[bytes] = field(default_factory=list)
    _failures: dict[str, _Failure] = field(default_factory=dict)
    _told: set[str] = field(default_factory=set)
    _busy: set[KnownWitness] = field(default_factory=set)
    _ended: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to ask, every now and then; nothing happens without witnesses."""
        if not self.witnesses:
            return
        wanted = self.policy
        if wanted is None:
            wanted = Policy.requiring(
                [one.key for one in self.witnesses], [one.url for one in self.witnesses]
            )
        try:
            with recording():
                self._earlier = read_cosigned(self.folder.cosigned)
        except EvidenceError as error:
            self._failures[COSIGNED] = _Failure(COSIGNED, str(error))
        self._write(POLICY, wanted.encode())
        self._thread = threading.Thread(target=self._work, name="witnesses", daemon=True)
        self._thread.start()

    def gaps(self) -> Iterator[Gap]:
        """Each witness that could not be had, once. One that saw another history makes the run incomplete."""
        for at, failure in list(self._failures.items()):
            if at not in self._told or failure.other:
                self._told.add(at)
                self._failures.pop(at, None)
                origin = Origin("monitor", Trust.SERVICE, 0, -1, -1, time.time_ns())
                did = "does not confirm this record" if failure.other else "did not sign"
                what = f"the witness {failure.name} {did}"
                yield Gap(origin, what, failure.reason, law=LAW, stops=failure.other)

    def close(self) -> list[str]:
        """Have the finished record cosigned; sentences about the witnesses that did not.

        Returns after LAST_SECONDS at most, whatever the witnesses do.
        """
        self._ended.set()
        if self._thread is None:
            return []
        self._thread.join(LAST_SECONDS)
        failures = dict(self._failures)
        told = [f"{one.name}: {one.reason}" for at, one in failures.items() if at in (LEDGER, COSIGNED)]
        for witness in self.witnesses:
            failure = failures.get(witness.key.vkey)
            denied = failure is not None and failure.other
            if LEDGER not in failures and (denied or not self._has_seen(witness)):
                reason = "did not answer in time" if failure is None else failure.reason
                told.append(f"{witness.key.name}: {reason}")
        if self.policy is not None and not self.is_reached():
            told.append("too few witnesses have seen the whole record for the witness policy")
        return told

    def is_reached(self) -> bool:
        """Whether the policy, if there is one, has its cosignatures on the finished record."""
        if self.policy is None:
            return True
        seen = {one.key for one in self.witnesses if self._has_seen(one)}
        return self.policy.is_reached({one.name for one in self.policy.witnesses if one.key in seen})

    def _has_seen(self, witness: KnownWitness) -> bool:
        """Whether the witness has cosigned the finished record, whose head was read after its end."""
        head = self._heads.get(witness)
        return head is not None and self._whole is not None and head.size == self._whole.size

    def _work(self) -> None:
        be_modest()
        while not self._ended.wait(ASK_EVERY):
            self._ask()
        self._failures.clear()
        self._whole = self._ask()

    def _ask(self) -> TreeHead | None:
        """One round: all witnesses at once, but those that are still at an earlier question.

        Returns the head that was shown, None when the record could not be read.
        """
        try:
            with recording(), Reader(self.folder.ledger) as reader:
                head = reader.tree_head
                self._leaves += map(leaf_hash, reader.entries(len(self._leaves), head.size))
        except Error as error:
            self._failures[LEDGER] = _Failure(LEDGER, str(error))
            return None
        asked = []
        for witness in self.witnesses:
            if witness not in self._busy:
                self._busy.add(witness)
                thread = threading.Thread(target=self._ask_one, args=(witness, head), daemon=True)
                thread.start()
                asked.append(thread)
        until = time.monotonic() + ROUND_SECONDS
        for thread in asked:
            thread.join(max(0.0, until - time.monotonic()))
        if self._heads:
            # What another monitor had cosigned before a crash still speaks of what was there then.
            self._write(COSIGNED, write_cosigned([*self._heads.values(), *self._earlier][:MAX_HEADS]))
        return head

    def _ask_one(self, witness: KnownWitness, head: TreeHead) -> None:
        at = witness.key.vkey
        try:
            signed = self._cosigned(witness, head)
            self._heads[witness] = ask(witness, head, self._leaves, old=signed, signed=signed)
        except VerificationError as error:
            self._failures[at] = _Failure(witness.key.name, str(error), other=True)
        except Error as error:
            self._failures[at] = _Failure(witness.key.name, str(error))
        finally:
            self._busy.discard(witness)

    def _cosigned(self, witness: KnownWitness, head: TreeHead) -> int:
        """The largest tree of this record that the witness cosigned, for this monitor or one before it."""
        known = self._heads.get(witness)
        if known is not None:
            return known.size
        largest = 0
        for one in self._earlier:
            if one.origin == head.origin and largest < one.size <= head.size:
                with contextlib.suppress(VerificationError):  # another witness', or nobody's
                    verify_cosignature(parse_note(one.signed), witness.key)
                    largest = one.size
        return largest

    def _write(self, name: str, data: bytes) -> None:
        try:
            with recording():
                write_private(self.folder.path / name, data)
        except OSError as error:
            self._failures[name] = _Failure(name, str(error))
