"""Names of modules that a package may not take for itself, and whose they are."""

from __future__ import annotations

import re

from ..core.packagename import normalised

_STANDARD = """
__future__ abc array ast base64 bdb binascii bisect builtins bz2 calendar cProfile cmath cmd code codecs
codeop collections colorsys compileall contextlib copy copyreg csv ctypes curses datetime dbm decimal
difflib dis doctest email encodings errno faulthandler fcntl filecmp fileinput fnmatch fractions ftplib
functools gc genericpath getopt getpass gettext glob graphlib grp gzip hashlib heapq hmac html http
imaplib importlib inspect io itertools json keyword linecache locale logging lzma mailbox marshal math
mimetypes mmap modulefinder multiprocessing netrc ntpath numbers opcode operator optparse os pdb pickle
pickletools pkgutil platform plistlib poplib posix posixpath pprint profile pstats pty pwd py_compile
pydoc queue quopri random re readline reprlib resource rlcompleter runpy sched secrets select shelve
shlex shutil signal site smtplib socket socketserver sqlite3 sre_compile sre_constants sre_parse ssl
stat string stringprep struct subprocess symtable sys sysconfig syslog tarfile tempfile termios textwrap
threading time timeit token tokenize trace traceback tracemalloc tty types unicodedata unittest urllib
uuid venv warnings wave weakref webbrowser wsgiref xml xmlrpc zipapp zipfile zipimport zlib zoneinfo
"""
STANDARD = frozenset(_STANDARD.split())
"""Modules of CPython that no package has a reason to bring: none that is backported or was taken out."""

_TRAINING = {
    "torch": r"(py)?torch([-].*)?",
    "numpy": r"numpy([-].*)?",
    "transformers": r"transformers([-].*)?",
    "accelerate": r"accelerate",
    "lightning": r"lightning",
    "deepspeed": r"deepspeed([-].*)?",
    "safetensors": r"safetensors",
    "sklearn": r"scikit-learn([-].*)?",
    "scipy": r"scipy([-].*)?",
    "jax": r"jax",
    "flax": r"flax",
    "peft": r"peft",
    "trl": r"trl",
}
_OWNERS = {name: re.compile(pattern) for name, pattern in _TRAINING.items()}


def taken(module: str, distribution: str) -> str:
    """Whose name a module at the root of a distribution has taken; empty when it may have it."""
    if module in STANDARD:
        return "Python's own"
    owner = _OWNERS.get(module)
    if owner is not None and not owner.fullmatch(normalised(distribution)):
        return f"the library {module}'s"
    return ""
