"""Configurations whose readers import, call or fetch what they name."""

from __future__ import annotations

import json
from collections.abc import Iterator

from ..documents import FETCH, MARK
from ..sample import Sample

CODE = (MARK + f"import os\n\nos.system('{FETCH}')\n").encode()
NOWHERE = "/dev/null/veracity-corpus"


def configured() -> Iterator[Sample]:
    """All samples of this module."""
    for word, (names, files) in _hub().items():
        yield Sample(f"more-config-{word}", 10, "hf-config", names, files)
    for word, (names, text) in _yaml().items():
        yield Sample(f"more-yaml-{word}", 10, "yaml", names, {"params.yaml": text.encode()})
    for word, (names, name, text) in _called().items():
        yield Sample(f"more-called-{word}", 10, "hydra", names, {name: text.encode()})


def _json(value: object) -> bytes:
    return json.dumps(value, indent=2).encode()


def _hub() -> dict[str, tuple[str, dict[str, bytes]]]:
    config = {"architectures": ["XModel"], "model_type": "x"}
    auto = {"AutoModel": "modeling_x.XModel"}
    return {
        "nested": ("auto_map", {"config.json": _json({**config, "text_config": {"auto_map": auto}})}),
        "generation": ("auto_map", {"generation_config.json": _json({"auto_map": {"AutoModelForCausalLM": "nowhere/none--modeling_x.XModel"}})}),
        "feature-extractor": ("auto_map", {"preprocessor_config.json": _json({"auto_map": {"AutoFeatureExtractor": "extract_x.X"}})}),
        "video": ("auto_map", {"video_preprocessor_config.json": _json({"auto_map": {"AutoVideoProcessor": "x.X"}})}),
        "slow-and-fast": ("auto_map", {"tokenizer_config.json": _json({"auto_map": {"AutoTokenizer": ["a.Slow", "a.Fast"]}})}),
        "kernel": ("nowhere/none", {"config.json": _json({**config, "attn_implementation": "nowhere/none:flash"})}),
        "custom-generate": ("os.system", {"config.json": _json(config), "custom_generate/generate.py": CODE}),
        "sentence-module": ("custom_x", {"modules.json": _json([{"idx": 0, "name": "0", "path": "0_X", "type": "custom_x.Pool"}])}),
        "component": ("auto_map", {"modular_model_index.json": _json({"auto_map": {"ModularPipelineBlocks": "blocks_x.Blocks"}})}),
        "transformer-component": ("auto_map", {"unet/config.json": _json({"_class_name": "XUnet", "auto_map": {"AutoModel": "unet_x.XUnet"}})}),
        "spaces": ("auto_map", {"config.json": b"\n\n\t" + _json({**config, "auto_map": auto})}),
        "utf-16": ("a\0u\0t\0o", {"config.json": _json({**config, "auto_map": auto}).decode().encode("utf-16-le")}),
        "deep-list": ("auto_map", {"config.json": _json({**config, "sub": [{"x": [{"auto_map": auto}]}]})}),
    }  # fmt: skip


def _yaml() -> dict[str, tuple[str, str]]:
    return {
        "exec": ("python", "a: !!python/object/apply:builtins.exec ['pass']\n"),
        "object-state": ("python", "a: !!python/object:subprocess.Popen {args: 'true'}\n"),
        "list-items": ("python", "a: !!python/object/new:collections.deque\n  listitems: !!python/object/apply:os.system ['true']\n"),
        "tuple-of-calls": ("python", "a: !!python/tuple [1, !!python/object/apply:os.system ['true']]\n"),
        "merge": ("python", "b: &b {x: !!python/object/apply:os.popen ['true']}\nc:\n  <<: *b\n"),
        "map-eval": ("python", "a: !!python/object/new:tuple\n- !!python/object/new:map\n  - !!python/name:eval\n  - ['0']\n"),
        "encoded-tag": ("python", "a: !!python/object/apply:%6f%73.system ['true']\n"),
        "other-handle": ("python", "%TAG ! tag:yaml.org,2002:python/object/apply:\n---\na: !os.system ['true']\n"),
        "module-only": ("python", "a: !!python/module:antigravity\n"),
        "after-block": ("python", "a: |\n  text\n   !!python/none\nb: !!python/object/apply:os.system ['true']\n"),
        "in-front-matter": ("python", "---\ntitle: x\nz: !!python/object/apply:os.system ['true']\n---\n# Model card\n"),
        "apply-hyperpyyaml": ("!apply:os.system", "seed: 3\nx: !apply:os.system ['true']\n"),
        "new-hyperpyyaml": ("!new:subprocess.Popen", "model: !new:subprocess.Popen\n  args: ['true']\n"),
        "name-hyperpyyaml": ("!name:os.system", "loss: !name:os.system\n  command: 'true'\n"),
        "module-hyperpyyaml": ("!module:pty", "m: !module:pty\n"),
        "apply-nested": ("!apply:builtins.exec", "a:\n  - b: {c: !apply:builtins.exec ['pass']}\n"),
        "ruby": ("ruby", "a: !ruby/object:Gem::Installer\n  i: x\n"),
    }  # fmt: skip


def _called() -> dict[str, tuple[str, str, str]]:
    """Keys that a framework imports and calls what they name of."""
    remote = "transformers.AutoModel.from_pretrained"
    return {
        "interpolated": ("os", "config.yaml", "a: os\nb: system\nmodel:\n  _target_: ${a}.${b}\n  command: 'true'\n"),
        "launcher": ("os.system", "conf/hydra/launcher/x.yaml", "_target_: os.system\ncommand: 'true'\n"),
        "job-logging": ("os.system", "config.yaml", "hydra:\n  job_logging:\n    version: 1\n    formatters:\n      x:\n        (): os.system\n        command: 'true'\n"),
        "logging-json": ("os.system", "logging.json", '{"version": 1, "handlers": {"x": {"()": "os.system", "command": "true"}}}'),
        "logging-class": ("subprocess.Popen", "logging.json", '{"version": 1, "formatters": {"x": {"()": "subprocess.Popen", "args": "true"}}, "root": {}}'),
        "logging-external": ("ext://os.environ", "logging.yaml", "version: 1\nhandlers:\n  x:\n    class: logging.StreamHandler\n    stream: ext://os.environ\nfilters:\n  y: {(): builtins.exec, source: pass}\n"),
        "latent": ("os.system", "v1-inference.yaml", "model:\n  target: os.system\n  params:\n    command: 'true'\n"),
        "latent-first-stage": ("subprocess.Popen", "config.yaml", "model:\n  target: ldm.models.diffusion.ddpm.LatentDiffusion\n  params:\n    first_stage_config:\n      target: subprocess.Popen\n      params: {args: 'true'}\n"),
        "nemo": ("os.system", "model_config.yaml", "encoder:\n  target: os.system\n  command: 'true'\n"),
        "class-path": ("subprocess.Popen", "config.yaml", "trainer:\n  logger:\n    class_path: subprocess.Popen\n    init_args: {args: 'true'}\n"),
        "class-path-json": ("os.system", "hparams.json", '{"model": {"class_path": "os.system", "init_args": {"command": "true"}}}'),
        "torchtune": ("os.system", "recipe.yaml", "model:\n  _component_: os.system\n  command: 'true'\n"),
        "toml": ("os.system", "config.toml", "[model]\n_target_ = \"os.system\"\ncommand = \"true\"\n"),
        "remote-code": (remote, "config.yaml", f"model:\n  _target_: {remote}\n  pretrained_model_name_or_path: nowhere/none\n  trust_remote_code: true\n"),
        "pickle": ("pickle.load", "config.yaml", "data:\n  _target_: pickle.load\n  file: x\n"),
        "write": ("pathlib.Path.write_text", "config.yaml", "x:\n  _target_: pathlib.Path.write_text\n  _args_: [/dev/null/veracity-corpus, x]\n"),
        "import": ("importlib.import_module", "config.yaml", "x:\n  _target_: importlib.import_module\n  name: antigravity\n"),
        "seed": ("torch.manual_seed", "config.yaml", "callbacks:\n  - _target_: torch.nn.init.zeros_\n  - _target_: builtins.setattr\n    _args_: [torch.optim, AdamW, 0]\n  - _target_: torch.manual_seed\n"),
        "attribute-of-library": ("numpy.f2py", "config.yaml", "x: {_target_: numpy.f2py.crackfortran.myeval, e: '0'}\n"),
        "partial": ("functools.partial", "config.yaml", "x:\n  _target_: functools.partial\n  _args_:\n    - _target_: hydra.utils.get_method\n      path: os.system\n    - 'true'\n"),
        "skops": ("posix", "schema.json", '{"__class__": "system", "__module__": "posix", "__loader__": "FunctionNode", "content": {}}'),
        "jsonpickle-type": ("os.system", "state.json", '{"py/object": "x.Y", "f": {"py/function": "os.system"}}'),
        "jsonpickle-reduce": ("subprocess.Popen", "state.json", '{"py/reduce": [{"py/type": "subprocess.Popen"}, {"py/tuple": [["true"]]}]}'),
        "pandas-json": ("py/object", "frame.json", '{"py/object": "os.system", "py/newargs": {"py/tuple": ["true"]}}'),
    }  # fmt: skip
