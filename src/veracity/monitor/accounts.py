"""Two accounts in one process: that of the job, and that of the service which records it.

A process that records for somebody else (``monitor/service/keeper.py``) opens and starts everything as the
job's account. Only where a function says so (:func:`recorded`) does a thread open files as the recorder's,
for as long as it runs: whoever forgets to say it is refused by the kernel and has opened nothing of others.

The three numbers that a process has (credentials(7)): real and effective are the job's, saved is the
recorder's. So ``exec`` leaves nothing of the recorder in what is started (the saved one becomes the effective
one), setfsuid(2) may go to the recorder's and back without a capability, and ptrace(2), which wants all three
to be alike, is refused to the job's account. A monitor with one account only has none of this.
"""

from __future__ import annotations

import ctypes
import functools
import os
import pwd
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec, TypeVar

from ..core.errors import UsageError

PR_SET_DUMPABLE = 4
PR_SET_NO_NEW_PRIVS = 38
NEEDED = {"CAP_SETGID": 6, "CAP_SETUID": 7}
"""What is needed to take on the job's account: capabilities(7)."""
_CAPABILITY_VERSION_3 = 0x20080522
_KEEP = 0xFFFFFFFF
_P = ParamSpec("_P")
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Account:
    """Numbers of a user and a group, and the user's name."""

    uid: int
    gid: int
    name: str


class _Held:
    """The recorder's account in this process, None where it is the only one. Set once."""

    recorder: Account | None = None
    libc: ctypes.CDLL


def own_account() -> Account:
    """The account that this process runs under."""
    uid = os.geteuid()
    return Account(uid, os.getegid(), name_of(uid))


def name_of(uid: int) -> str:
    """A user's name, the number where nobody has given it one."""
    try:
        return pwd.getpwuid(uid).pw_name
    except (KeyError, OSError):
        return str(uid)


def recorder() -> Account | None:
    """The account that records, where it is not the one this process runs under."""
    return _Held.recorder


def may_change_accounts() -> bool:
    """Whether this process holds what :func:`take_on` needs."""
    status = Path("/proc/self/status").read_text(errors="replace")
    masks = [line.split()[1] for line in status.splitlines() if line.startswith("CapEff:")]
    held = int(masks[0], 16) if masks else 0
    return all(held >> number & 1 for number in NEEDED.values())


def take_on(uid: int, gid: int, groups: Sequence[int]) -> None:
    """Become the job's account in everything but what :func:`recorded` functions do; for good.

    Raises UsageError when the kernel refuses.
    """
    mine = own_account()
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        os.setgroups(list(groups))
        os.setresgid(gid, gid, mine.gid)
        os.setresuid(uid, uid, mine.uid)
        _drop_capabilities(libc)
        for option, value in ((PR_SET_NO_NEW_PRIVS, 1), (PR_SET_DUMPABLE, 0)):
            if libc.prctl(option, value, 0, 0, 0) != 0:
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    except OSError as error:
        raise UsageError(
            f"the account {uid} cannot be taken on: {error.strerror}",
            remedy=f"the service needs {' and '.join(sorted(NEEDED))}: see its unit file",
        ) from error
    for function in (libc.setfsuid, libc.setfsgid):
        function.argtypes, function.restype = [ctypes.c_uint], ctypes.c_uint
    _Held.recorder, _Held.libc = mine, libc


def keep_nothing() -> None:
    """Give up every capability: for a process that only reads what is its own."""
    libc = ctypes.CDLL(None, use_errno=True)
    _drop_capabilities(libc)
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def _drop_capabilities(libc: ctypes.CDLL) -> None:
    header = struct.pack("<Ii", _CAPABILITY_VERSION_3, 0)
    if libc.capset(header, bytes(24)) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


@contextmanager
def recording() -> Iterator[None]:
    """Open files as the account that records, in this thread, meanwhile."""
    held = _Held.recorder
    if held is None:
        yield
        return
    libc = _Held.libc
    before = libc.setfsuid(held.uid), libc.setfsgid(held.gid)
    try:
        if libc.setfsuid(_KEEP) != held.uid:
            raise PermissionError("this process may not open files as the account that records")
        yield
    finally:
        libc.setfsuid(before[0])
        libc.setfsgid(before[1])


def recorded(function: Callable[_P, _T]) -> Callable[_P, _T]:
    """The function, whose files are the record's: it opens them as the account that records."""

    @functools.wraps(function)
    def within(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        with recording():
            return function(*args, **kwargs)

    return within
