"""What a file is to its loader: which part of it is the pickle, and where the storages lie.

Only files that every reader reads alike are taken apart here: whoever gets here has asked the gate before.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ...core.errors import EvidenceError
from ...core.observation import Oddity
from ...core.pickleprogram import End, PickleProgram
from ...core.quantity import quantity
from ...observe.archive.torchlegacy import IN_A_ROW, MAGIC, storages_of
from ...observe.archive.unpacking import Stream, deflate
from ...observe.archive.zip.ends import may_be_zip
from ...observe.archive.zip.members import DEFLATED, STORED, Member
from ...observe.archive.zip.survey import survey
from ...observe.artifact.budget import Budget
from ...observe.artifact.input import Input
from ...observe.pickle.machine import walk, walk_all

LEGACY_PROTOCOL = 1001
MAX_PICKLE = 1 << 30

Find = Callable[[str], tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Opened:
    """The program of a file's object, the bytes it was read from, and where storages lie in the file."""

    program: PickleProgram
    pickle: Input
    find: Find | None


def open_pickle(whole: Input, budget: Budget) -> Opened:
    """Take a torch zip, a torch legacy file or a plain pickle apart; raises EvidenceError for all else."""
    head = whole.read(0, 4096)
    if may_be_zip(head, whole):
        return _torch_zip(whole, budget)
    programs = list(walk_all(whole, record_values=True, most=IN_A_ROW))
    if programs[0].result == MAGIC:
        return _legacy(whole, programs)
    if programs[0].consumed < whole.size:
        raise EvidenceError(
            f"{quantity(whole.size - programs[0].consumed, 'byte follows', 'bytes follow')} the pickle",
            where=whole.name,
        )
    return Opened(programs[0], whole, None)


# --- torch zip -------------------------------------------------------------------------------------------


def _torch_zip(whole: Input, budget: Budget) -> Opened:
    found = survey(whole, budget)
    members: dict[str, Member] = {}
    for member in found.members:
        if len(member.names) != 1 or member.encrypted or member.open:
            raise EvidenceError("readers of zip archives see different members in it", where=whole.name)
        name = member.names[0].decode("utf-8", "surrogateescape")
        if name in members:
            raise EvidenceError(f"two members are called {name[:80]!r}", where=whole.name)
        members[name] = member
    if found.oddities.count(Oddity.OVERLAP) or found.before:
        raise EvidenceError("members of the archive share bytes, or other data come first", where=whole.name)
    roots = [name.removesuffix("data.pkl") for name in members if name.endswith("/data.pkl")]
    if len(roots) != 1 or f"{roots[0]}constants.pkl" in members:
        what = (
            "a TorchScript archive, which holds code" if roots else "a zip archive without torch's data.pkl"
        )
        raise EvidenceError(f"is {what}", where=whole.name, remedy="see `veracity scan`")
    _check_order(whole, members.get(f"{roots[0]}byteorder"))
    pickle = _content(whole, members[f"{roots[0]}data.pkl"], budget)
    return Opened(walk(pickle, record_values=True), pickle, _finder(members, f"{roots[0]}data/"))


def _check_order(whole: Input, member: Member | None) -> None:
    if member is not None and whole.read(member.data, 16)[: member.packed] != b"little":
        raise EvidenceError("was written on a machine with the other order of bytes", where=whole.name)


def _content(whole: Input, member: Member, budget: Budget) -> Input:
    if member.method == STORED:
        return whole.part("data.pkl", member.data, member.packed)
    if member.method != DEFLATED:
        raise EvidenceError(f"data.pkl is packed with method {member.method}", where=whole.name)
    parts, size = [], 0
    for chunk in Stream(whole, member.data, member.end, deflate).chunks():
        size += len(chunk)
        budget.spend_unpacked(len(chunk), whole.name)
        if size > MAX_PICKLE:
            raise EvidenceError(f"data.pkl unpacks to more than {MAX_PICKLE:,} bytes", where=whole.name)
        parts.append(chunk)
    return Input.of_bytes(f"{whole.name}!data.pkl", b"".join(parts), whole.depth + 1)


def _finder(members: dict[str, Member], folder: str) -> Find:
    def find(key: str) -> tuple[int, int]:
        member = members.get(f"{folder}{key}")
        if member is None or member.method != STORED:
            raise EvidenceError(f"storage {key[:80]!r} is not in the archive, or is packed")
        return member.data, member.packed

    return find


# --- torch legacy ----------------------------------------------------------------------------------------


def _legacy(whole: Input, programs: list[PickleProgram]) -> Opened:
    """Magic, protocol, system, object, keys; then of each key a count and the numbers themselves."""
    if len(programs) != IN_A_ROW or any(one.ending.kind is not End.STOP for one in programs):
        raise EvidenceError("is a legacy file of torch that breaks off", where=whole.name)
    if programs[1].result != LEGACY_PROTOCOL:
        raise EvidenceError("is a legacy file of torch of an unknown protocol", where=whole.name)
    places: dict[str, tuple[int, int]] = {}
    end = programs[4].start + programs[4].consumed
    for key, at, length in storages_of(whole, programs[3], programs[4]):
        places[key] = at, length
        end = at + length
    if end != whole.size:
        raise EvidenceError(
            f"{quantity(whole.size - end, 'byte follows', 'bytes follow')} the storages", where=whole.name
        )

    def find(key: str) -> tuple[int, int]:
        if key not in places:
            raise EvidenceError(f"storage {key[:80]!r} is not in the file")
        return places[key]

    return Opened(programs[3], whole, find)
