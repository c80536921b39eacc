"""Before the command starts: is what it will run what was sealed, and was that approved?

The parts are read again and compared, then the approvals are looked up. Nothing here decides: the run's
record gets all of it, and ``--policy enforce`` does not start on what :func:`refusals` names.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from ..core.approval import standing
from ..core.errors import Error, VerificationError
from ..core.level import FULL, Level, Looked, together
from ..core.observation import SealChecked, SealDrift
from ..core.origin import monitor_origin
from ..core.quantity import quantity
from ..core.tree import escaped
from ..ledger.keys import KEY_FILE, KEY_NAME, PublicKey, SigningKey
from ..ledger.witness.policy import Policy as WitnessPolicy
from ..observe.marks import Mark
from ..observe.tree import Progress
from ..seal.aliases import said_of_names
from ..seal.approvals import Log, approvable
from ..seal.compare import Change
from ..seal.difference import Difference
from ..seal.folder import SealFolder
from ..seal.paths import Part, Seal, check_seal, read_seal
from ..seal.policyfile import PolicyFile, witnesses_of
from ..seal.reading import Look
from ..seal.repositorychange import GitChange, RepositoryChanged
from ..seal.witnessed import confirmed_log
from .sealedruns import check_heads

MAX_DRIFT = 200
MAX_DETAIL = 500
FOLLOWING = (GitChange.COMMIT, GitChange.SUBMODULE)
"""Of git, what is told after the files that changed: it says where their changes may be from."""
NO_POLICY = "no policy"
PROGRAMS = (".py", ".sh")
CODE = "code"


def check_start(
    home: Path,
    folder: SealFolder,
    policy: PolicyFile | None,
    command: Sequence[str],
    *,
    level: Level = FULL,
    override: str = "",
    progress: Progress | None = None,
    now: int | None = None,
    witnesses: Sequence[WitnessPolicy] = (),
) -> SealChecked:
    """How the seal in ``folder`` stands now, and what is no longer as it was sealed.

    ``level``: how closely the parts are read. ``now`` in ns since the epoch, the clock's own without.
    ``witnesses``: whose word on the log of approvals is wanted besides that of those whom the policy names;
    all are asked now. What does not hold or cannot be read is said in the answer and not raised: a run that
    only observes starts all the same.
    """
    now = time.time_ns() if now is None else now
    word = "unknown"
    reasons: list[str] = []
    seal: Seal | None = None
    log = Log()
    drift: list[SealDrift] = []
    unread: list[str] = []
    said: list[str] = []
    looked: list[str] = []
    try:
        key = SigningKey.load(home / KEY_FILE, KEY_NAME).verifier
        seal = read_seal(folder, key)
        word, reasons, log, said = _stands(home, folder, seal, key, policy, now, witnesses)
    except VerificationError as error:
        word, reasons = "refused", [str(error)]
    except Error as error:
        reasons = [str(error)]
    if seal is not None:
        look = Look(level, home) if level.remembers else None
        drift, unread, looked = _compared(folder, seal, look, progress)
    return SealChecked(
        monitor_origin(now),
        folder.seal,
        "" if seal is None else seal.digest,
        word,
        reasons[:MAX_DRIFT],
        "" if policy is None else str(policy.policy.digest()),
        "" if policy is None else str(policy.path.absolute()),
        log.size,
        log.root,
        drift[:MAX_DRIFT],
        max(0, len(drift) - MAX_DRIFT),
        [] if seal is None else list(_outside(command, _code(seal, policy))),
        unread[:MAX_DRIFT],
        override,
        str(os.getuid()) if override else "",
        said,
        str(level),
        looked,
    )


def _compared(
    folder: SealFolder, seal: Seal, look: Look | None, progress: Progress | None
) -> tuple[list[SealDrift], list[str], list[str]]:
    """What of each part is not as it was sealed, what could not be read, then or now, and how it was read."""
    looked: list[Looked] = []
    before: list[SealDrift] = []
    drift: list[SealDrift] = []
    after: list[SealDrift] = []
    unread = [f"{part}: {one.path}: {one.reason}, when it was sealed" for part, one in seal.unread]
    lying = []
    for part in seal.parts:
        if not os.path.lexists(part.path):
            drift.append(SealDrift(part.name, "", Change.REMOVED.value, "", 0))
            continue
        lying.append(part)
        if os.path.realpath(part.path) != part.path:
            # It had no link in it when it was sealed: what is read now is read somewhere else.
            drift.append(_moved(part))

    def failed(part: Part, error: Error | OSError) -> None:
        unread.append(f"{part.name}: {error}")

    try:
        there = replace(seal, parts=tuple(lying))
        for difference in check_seal(folder, there, {}, look=look, progress=progress, failed=failed):
            drift += _drift(difference)
            unread += _unread(difference)
            looked += [difference.looked] if difference.looked is not None else []
            for row in difference.git:
                if row.differs:
                    (after if row.change in FOLLOWING else before).append(_git_drift(difference, row))
    except (Error, OSError) as error:
        unread += [f"{part.name}: {error}" for part in lying]
    said = list(together(looked).sentences()) if looked else []
    return [*before, *drift, *after], unread, said


def refusals(checked: SealChecked) -> list[str]:
    """Why a run must not be started on this seal, as people read it; empty when it may."""
    decided = checked.approved or checked.standing == NO_POLICY
    said = [] if decided else [f"the seal is {checked.standing}: {one}" for one in checked.reasons]
    if not decided and not said:
        said.append(f"the seal is {checked.standing}")
    said += [one.sentence for one in checked.drift]
    if checked.more:
        said.append(f"and {quantity(checked.more, 'more name is', 'more names are')} not as sealed")
    said += [f"no part of the seal that is code: {path}" for path in checked.outside]
    return said + [f"could not be read: {one}" for one in checked.unread]


def _stands(
    home: Path,
    folder: SealFolder,
    seal: Seal,
    key: PublicKey,
    policy: PolicyFile | None,
    now: int,
    witnesses: Sequence[WitnessPolicy],
) -> tuple[str, list[str], Log, list[str]]:
    if seal.seal != folder.seal:
        raise VerificationError(f"in the folder of {folder.seal} lies {seal.seal}")
    if policy is None:
        return NO_POLICY, [], Log(), []
    named = witnesses_of(policy.policy)
    log, said = confirmed_log(home, key, [*witnesses, *([] if named is None else [named])])
    log.check_clock(now)
    check_heads(home, log)
    stands = standing(policy.policy, approvable(seal, key), log.approvals, log.revocations, now)
    return stands.word.value, list(stands.reasons), log, said


def _moved(part: Part) -> SealDrift:
    status = os.lstat(part.path)
    return SealDrift(part.name, "", Change.LINK.value, str(status.st_uid), status.st_ctime_ns)


def _drift(difference: Difference) -> Iterator[SealDrift]:
    for one in difference.changed:
        if one.change is not Change.UNREAD:
            mark = difference.marks.get(one.path)
            detail = said_of_names(difference.names.get(one.path))
            yield SealDrift(difference.part, escaped(one.path), one.change.value, *_marked(mark), detail)


def _git_drift(difference: Difference, row: RepositoryChanged) -> SealDrift:
    marked = _marked(difference.marks.get(row.place))
    return SealDrift(difference.part, row.subject, row.change.value, *marked, row.detail[:MAX_DETAIL])


def _marked(mark: Mark | None) -> tuple[str, int]:
    """Owner and time of the last change; nothing of what is gone."""
    return ("", 0) if mark is None else (mark.user or str(mark.uid), max(0, mark.changed_at))


def _unread(difference: Difference) -> Iterator[str]:
    for unread in difference.unread:
        yield f"{difference.part}: {unread.path}: {unread.reason}"
    for one in difference.changed:
        if one.change is Change.UNREAD:
            yield f"{difference.part}: {escaped(one.path) or '.'}"


def _code(seal: Seal, policy: PolicyFile | None) -> list[Part]:
    """The parts that may hold programs: who makes a seal must not get code approved as data."""
    if policy is None:
        return list(seal.parts)
    kinds = ((part, policy.policy.requirement_for(part.name)) for part in seal.parts)
    return [part for part, requirement in kinds if requirement is not None and requirement.kind == CODE]


def _outside(command: Sequence[str], parts: Sequence[Part]) -> Iterator[str]:
    """Scripts that the command names and that lie in none of these parts: nobody approved them."""
    for word in command:
        if word.endswith(PROGRAMS) and os.path.isfile(word):
            path = os.path.realpath(word)
            if not any(part.holds(path) for part in parts):
                yield path
