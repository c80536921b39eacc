"""The module that virtualenv and uv leave behind does what theirs do and nothing else."""

from __future__ import annotations

import pytest

from veracity.observe.virtualenvpatch import only_patches

PATCH = b'''"""Patches by eval(), in words of its own."""
import os
import sys
from functools import partial

VIRTUALENV_PATCH_FILE = os.path.join(__file__)
_DISTUTILS_PATCH = "distutils.dist", "setuptools.dist"


class _Finder:
    lock = []

    def find_spec(self, fullname, path, target=None):
        if fullname in _DISTUTILS_PATCH and len(self.lock) == 0:
            import threading
            from importlib.util import find_spec

            self.lock.append(threading.Lock())
            spec = find_spec(fullname, path)
            old = getattr(spec.loader, "exec_module")
            setattr(spec.loader, "exec_module", partial(self.exec_module, old))
            return spec
        return None

    @staticmethod
    def exec_module(old, module):
        old(module)
        module.Distribution.command_options = {f"install_{key}": sys.prefix for key in ("purelib", "data")}


sys.meta_path.insert(0, _Finder())
'''


def test_what_they_write_is_known() -> None:
    assert only_patches(PATCH)
    assert only_patches(PATCH + b"\ndef load_module(fullname):\n    return fullname.split('.')[-1]\n")


def test_annotations_count_where_they_are_evaluated() -> None:
    annotated = PATCH + b"\nkey: dict[str, 1 | 2] = None\n"
    assert not only_patches(annotated)
    future = b"from __future__ import annotations\n"
    assert only_patches(future + annotated)


@pytest.mark.parametrize(
    "more",
    [
        b"import helper",
        b"import os as helper",
        b"from os import system",
        b"from os import path as old",
        b"from .os import path",
        b"from os import *",
        b"os.system('x')",
        b"os.path.os",
        b"exec('x')",
        b"open(__file__)",
        b"getattr(os, 'system')",
        b"getattr(os, b'install')",
        b"getattr(os, f'{os!r}x')",
        b"getattr(os, f'{os}')",
        b"getattr(os, 'install' + 'data')",
        b"getattr(os, 'install'[0])",
        b"getattr(os, 'install'[1:])",
        b"__import__('data')",
        b"__builtins__",
        b"(",
        b"x = 1" + b"#" * (64 << 10),
    ],
)
def test_whatever_says_more_is_not(more: bytes) -> None:
    assert not only_patches(PATCH + more + b"\n")


def test_an_encoding_that_hides_a_line_is_heeded() -> None:
    hidden = b"# -*- coding: utf-7 -*-\n# +AAo-import helper\n"
    assert only_patches(hidden.split(b"\n", 1)[1])
    assert not only_patches(hidden)
