"""Who beside its owner and root may put something else in the place of a file, by the permissions there.

A group counts where this process's account is one of its members, and not the only one: these are colleagues.
Those of another group are the people who look after the machine. A volume that root mounted for everybody is
what containers are given for themselves. Access lists, capabilities and mount options are not looked at.
"""

from __future__ import annotations

import grp
import os
import pwd
import stat

EVERYBODY = "everybody"
MAX_DEPTH = 256


def writers_of(place: str) -> str:
    """``everybody``, ``the group …``, or empty where only the owners and root may.

    Folders on the way count, too: who can write there can put a file of his own in its place, unless the
    folder is sticky (``/tmp``). Of a place where nothing lies yet it is who may make it.
    """
    path = os.path.realpath(place)
    found = ""
    sticky_counts = False
    for _ in range(MAX_DEPTH):
        try:
            status = os.lstat(path)
        except OSError:
            status, sticky_counts = None, True  # it may be made, and what is sticky does not hinder that
        if status is not None:
            who = "" if _is_volume(path, status) else _may_write(status, sticky_counts)
            if who == EVERYBODY:
                return who
            found, sticky_counts = found or who, False
        if path == "/":
            return found
        path = os.path.dirname(path)
    return found


def _is_volume(path: str, status: os.stat_result) -> bool:
    """Whether a folder is a mount of root's that everybody may write to, as Kubernetes makes them."""
    if status.st_uid != 0 or stat.S_IMODE(status.st_mode) != 0o777 or not stat.S_ISDIR(status.st_mode):
        return False
    try:
        return os.lstat(os.path.dirname(path)).st_dev != status.st_dev
    except OSError:
        return False


def _may_write(status: os.stat_result, sticky_counts: bool) -> str:
    mode = status.st_mode
    if stat.S_ISDIR(mode) and mode & stat.S_ISVTX and not sticky_counts:
        return ""
    if mode & stat.S_IWOTH:
        return EVERYBODY
    if not mode & stat.S_IWGRP or status.st_gid == 0 or status.st_gid not in (*os.getgroups(), os.getegid()):
        return ""
    name, members = _group(status.st_gid)
    owner, first = _user(status.st_uid)
    # Many systems give each account a group of its own, and let it write. Debian's /usr/local is of a group
    # that has no members.
    shared = status.st_gid == first and name != owner
    if shared or any(one != owner for one in members):
        return f"the group {name or status.st_gid}"
    return ""


def _group(number: int) -> tuple[str, list[str]]:
    try:
        found = grp.getgrgid(number)
    except KeyError:
        return "", []
    return found.gr_name, found.gr_mem


def _user(number: int) -> tuple[str, int]:
    """Name and first group."""
    try:
        found = pwd.getpwuid(number)
    except KeyError:
        return "", -1
    return found.pw_name, found.pw_gid
