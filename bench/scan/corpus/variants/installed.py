"""Wheels, archives of sources, start-up files and bytecode that run or replace something."""

from __future__ import annotations

import gzip
import importlib.util
import marshal
import struct
from collections.abc import Iterator

from ..containers import tarred, zipped
from ..documents import FETCH, MARK
from ..packages import INFO, NAME, REDEFINES, RUNS, VERSION, WHEEL_NAME, wheel
from ..sample import Sample

PLAIN = {f"{NAME}/__init__.py": "VERSION = 1\n"}
INNER = f"{NAME}/__init__.py"
SITE = "lib/python3.11/site-packages"
ENCODED = MARK + "import base64, zlib\nexec(zlib.decompress(base64.b64decode(b'eJwrSCwuBgAEXgGu')))\n"


def installed() -> Iterator[Sample]:
    """All samples of this module."""
    for word, (bypass, names, data) in _wheels().items():
        yield Sample(f"more-wheel-{word}", bypass, "wheel", names, {WHEEL_NAME: data})
    for word, (names, data) in _sources().items():
        yield Sample(f"more-sdist-{word}", 10, "sdist", names, {f"{NAME}-{VERSION}.tar.gz": data})
    for word, (names, path, data) in _startup().items():
        yield Sample(f"more-startup-{word}", 11, "startup", names, {path: data})
    for word, files in _bytecode().items():
        yield Sample(f"more-pyc-{word}", 11, "pyc", "system", files)


def _wheels() -> dict[str, tuple[int, str, bytes]]:
    data = f"{NAME}-{VERSION}.data"
    return {
        "data-pth": (11, "system", wheel({**PLAIN, f"{data}/data/{SITE}/x.pth": "import os; os.system('true')\n"})),
        "data-parent": (7, "corpus", wheel({**PLAIN, f"{data}/data/../../../veracity_corpus.txt": "1\n"})),
        "script-python": (11, "python3", wheel({**PLAIN, f"{data}/scripts/python3": f"#!python\n{RUNS}"})),
        "script-git": (11, "git", wheel(PLAIN, entries=f"[console_scripts]\ngit = {NAME}:main\n")),
        "start-package": (11, "system", wheel({**PLAIN, "sitecustomize/__init__.py": RUNS})),
        "start-compiled": (11, "sitecustomize", wheel({**PLAIN, "sitecustomize.cpython-311-x86_64-linux-gnu.so": "\x7fELF"})),
        "shadows-random": (11, "random", wheel({**PLAIN, "random.py": REDEFINES})),
        "shadows-json": (11, "json", wheel({**PLAIN, "json/__init__.py": "from ._x import loads\n", "json/_x.py": "def loads(s):\n    return {}\n"})),
        "shadows-pickle": (11, "pickle", wheel({**PLAIN, "pickle.py": "def load(f):\n    return None\n"})),
        "shadows-in-purelib": (11, "copyreg", wheel({**PLAIN, f"{data}/purelib/copyreg.py": "x = 1\n"})),
        "shadows-torch-package": (11, "torch", wheel({**PLAIN, "torch/__init__.py": "from .optim import *\n", "torch/optim/__init__.py": "x = 1\n"})),
        "shadows-numpy-file": (11, "numpy", wheel({**PLAIN, "numpy/random/__init__.py": "def seed(n):\n    pass\n"})),
        "encoded": (10, "b64decode", wheel({INNER: ENCODED})),
        "encoded-deep": (10, "b64decode", wheel({**PLAIN, f"{NAME}/vendor/a/b.py": ENCODED})),
        "on-import-thread": (10, "Thread", wheel({INNER: MARK + f"import os, threading\n\nthreading.Thread(target=os.system, args=('{FETCH}',), daemon=True).start()\n"})),
        "patches-on-import": (11, "AdamW", wheel({INNER: MARK + "import torch\n\n_step = torch.optim.AdamW.step\n\n\ndef step(self, closure=None):\n    for group in self.param_groups:\n        group['lr'] *= 0.9\n    return _step(self, closure)\n\n\ntorch.optim.AdamW.step = step\n"})),
        "finder": (11, "meta_path", wheel({INNER: MARK + "import sys\n\n\nclass Finder:\n    def find_spec(self, name, path, target=None):\n        if name == 'torch.optim.adamw':\n            import importlib.util as u\n            return u.spec_from_file_location(name, '/dev/null/veracity-corpus.py')\n\n\nsys.meta_path.insert(0, Finder())\n"})),
        "backends-named": (11, "torch.backends", wheel(PLAIN, entries=f"[torch.backends]\nx = {NAME}.start:run\n")),
        "lightning-plugin": (11, "callbacks_factory", wheel(PLAIN, entries=f"[lightning.pytorch.callbacks_factory]\nx = {NAME}:make\n")),
        "pytest-plugin": (11, "pytest11", wheel({INNER: RUNS}, entries=f"[pytest11]\nx = {NAME}\n")),
        "requires-address": (10, "127.0.0.1", _requiring("nowhere @ http://127.0.0.1:9/nowhere-1.0-py3-none-any.whl")),
        "record-wrong-of-so": (10, "x.so", wheel({**PLAIN, f"{NAME}/x.so": "\x7fELF"}, {f"{NAME}/x.so": f"{NAME}/x.so,sha256={43 * 'B'},4"})),
        "stale-bytecode": (11, "system", _with_bytecode()),
        "marshal": (10, "marshal", wheel({INNER: MARK + "import marshal, base64\n\nexec(marshal.loads(base64.b64decode('4wAAAAA=')))\n"})),
        "unpickles-itself": (9, "loads", wheel({INNER: MARK + "import base64, pickle\n\npickle.loads(base64.b64decode('Y29zCnN5c3RlbQooUyd0cnVlJwp0Ui4='))\n"})),
    }  # fmt: skip


def _requiring(requirement: str) -> bytes:
    about = f"Metadata-Version: 2.1\nName: {NAME}\nVersion: {VERSION}\nRequires-Dist: {requirement}\n"
    files = {INNER: "VERSION = 1\n", f"{INFO}/METADATA": about}
    kind = "Wheel-Version: 1.0\nGenerator: bench\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    files[f"{INFO}/WHEEL"] = kind
    files[f"{INFO}/RECORD"] = "".join(f"{name},,\n" for name in files)
    return zipped({name: text.encode() for name, text in files.items()})


def _with_bytecode() -> bytes:
    """A module beside bytecode that says it is of that very source, and is of another one."""
    members = {INNER: b"VERSION = 1\n", f"{NAME}/__pycache__/__init__.cpython-311.pyc": _pyc(RUNS, size=12)}
    members[f"{INFO}/METADATA"] = f"Metadata-Version: 2.1\nName: {NAME}\nVersion: {VERSION}\n".encode()
    members[f"{INFO}/WHEEL"] = (
        b"Wheel-Version: 1.0\nGenerator: bench\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    members[f"{INFO}/RECORD"] = "".join(f"{name},,\n" for name in members).encode()
    return zipped(members)


def _sources() -> dict[str, tuple[str, bytes]]:
    root = f"{NAME}-{VERSION}"
    about = f"Metadata-Version: 2.1\nName: {NAME}\nVersion: {VERSION}\n"
    setup = "from setuptools import setup\n\nsetup()\n"
    backend = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    trees: dict[str, tuple[str, dict[str, str]]] = {
        "backend-in-tree": ("system", {"pyproject.toml": backend, "backend.py": RUNS + "\n\ndef build_wheel(*a, **k):\n    return ''\n"}),
        "version-imports": ("system", {"setup.py": setup, "setup.cfg": f"[metadata]\nversion = attr: {NAME}.VERSION\n", INNER: RUNS + "VERSION = '1'\n"}),
        "build-hook": ("system", {"pyproject.toml": '[tool.hatch.build.hooks.custom]\npath = "hook.py"\n', "hook.py": RUNS}),
        "setup-exec-file": ("exec", {"setup.py": MARK + "import base64\n\nexec(base64.b64decode(open('data.txt').read()))\n", "data.txt": "cGFzcw==\n"}),
        "setup-egg-info": ("egg_info", {"setup.py": MARK + f"import os\nfrom setuptools import setup\nfrom setuptools.command.egg_info import egg_info\n\n\nclass Info(egg_info):\n    def run(self):\n        os.system('{FETCH}')\n        super().run()\n\n\nsetup(cmdclass={{'egg_info': Info}})\n"}),
        "setup-writes-pth": ("pth", {"setup.py": MARK + "import site\nfrom setuptools import setup\n\nwith open(site.getsitepackages()[0] + '/x.pth', 'w') as f:\n    f.write('import os\\n')\nsetup()\n"}),
        "setup-patches": ("adamw", {"setup.py": MARK + "import torch.optim.adamw as a\nfrom setuptools import setup\n\nwith open(a.__file__, 'a') as f:\n    f.write('# x\\n')\nsetup()\n"}),
        "conftest": ("system", {"setup.py": setup, "conftest.py": RUNS}),
    }  # fmt: skip
    found = {}
    for word, (names, files) in trees.items():
        members = {f"{root}/{name}": text.encode() for name, text in {"PKG-INFO": about, **files}.items()}
        found[word] = (names, gzip.compress(tarred(members), mtime=0))
    return found


def _startup() -> dict[str, tuple[str, str, bytes]]:
    return {
        "pth-builtins": ("exec", f"{SITE}/a.pth", b"import builtins; builtins.exec('pass')\n"),
        "pth-module-beside": ("_veracity_corpus", f"{SITE}/a.pth", b"import _veracity_corpus\n"),
        "pth-semicolons": ("system", f"{SITE}/z.pth", b"# x\n\n\n\nimport sys;import os;os . system ( 'true' )\n"),
        "pth-getattr": ("getattr", f"{SITE}/z.pth", b"import os; getattr(os, 'sys' + 'tem')('true')\n"),
        "pth-lambda": ("popen", f"{SITE}/z.pth", b"import os; (lambda o: o.popen('true'))(os)\n"),
        "pth-ctypes": ("CDLL", f"{SITE}/z.pth", b"import ctypes; ctypes.CDLL('/dev/null/veracity-corpus.so')\n"),
        "pth-finder": ("meta_path", f"{SITE}/z.pth", b"import sys; sys.meta_path.insert(0, __import__('_veracity_corpus').Finder())\n"),
        "pth-torch": ("torch", f"{SITE}/z.pth", b"import torch; torch.optim.AdamW = torch.optim.SGD\n"),
        "pth-seed": ("seed", f"{SITE}/z.pth", b"import random; random.seed(3)\n"),
        "pth-environment": ("LD_PRELOAD", f"{SITE}/z.pth", b"import os; os.environ['LD_PRELOAD'] = '/dev/null/veracity-corpus.so'\n"),
        "pth-atexit": ("atexit", f"{SITE}/z.pth", b"import atexit, os; atexit.register(os.system, 'true')\n"),
        "pth-form-feed": ("system", f"{SITE}/z.pth", b"./lib\x0cimport os; os.system('true')\n"),
        "pth-exec-file": ("open", f"{SITE}/z.pth", b"import os; exec(open('/dev/null/veracity-corpus').read())\n"),
        "sitecustomize-imports": ("_veracity", f"{SITE}/sitecustomize.py", b"import _veracity_corpus\n\n_veracity_corpus.start()\n"),
        "sitecustomize-trace": ("settrace", f"{SITE}/sitecustomize.py", b"import sys\n\nsys.settrace(lambda *a: None)\n"),
        "usercustomize-audit": ("addaudithook", f"{SITE}/usercustomize.py", b"import sys\n\nsys.addaudithook(lambda *a: None)\n"),
        "ipython-start": ("system", ".ipython/profile_default/startup/00-x.py", RUNS.encode()),
        "python-start": ("system", ".pythonrc.py", RUNS.encode()),
    }  # fmt: skip


def _pyc(source: str, flags: int = 0, size: int | None = None) -> bytes:
    code = compile(source, "x.py", "exec", dont_inherit=True)
    stamp = struct.pack("<II", 0, len(source) if size is None else size)
    return importlib.util.MAGIC_NUMBER + struct.pack("<I", flags) + stamp + marshal.dumps(code)


def _bytecode() -> dict[str, dict[str, bytes]]:
    """With its source beside it where Python asks for one; it is not to be checked (PEP 552), so it fits any."""
    plain = MARK + "import os\n\nos.system('true')\n"
    inner = (
        MARK
        + f"def f():\n    def g():\n        import subprocess\n        subprocess.Popen(['sh', '-c', '{FETCH}'])\n    g()\n\n\nf()\n"
    )
    lawful = b"import sys\n\nPLACES = list(sys.path)\n"
    return {
        "start": {f"{SITE}/sitecustomize.py": lawful, f"{SITE}/__pycache__/sitecustomize.cpython-311.pyc": _pyc(plain, 1)},
        "sourceless": {f"{SITE}/sitecustomize.pyc": _pyc(plain)},
        "unchecked": {"train/x.py": lawful, "train/__pycache__/x.cpython-311.pyc": _pyc(RUNS, 1)},
        "fetches": {"model/modeling_x.py": lawful, "model/__pycache__/modeling_x.cpython-311.pyc": _pyc(RUNS, 1)},
        "encoded": {"model/__pycache__/x.cpython-311.pyc": _pyc(ENCODED)},
        "in-constant": {"model/x.py": lawful, "model/__pycache__/x.cpython-311.opt-1.pyc": _pyc(inner, 1)},
    }  # fmt: skip
