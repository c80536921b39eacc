"""YAML and TOML that have their loaders do something, and texts that look like it."""

from __future__ import annotations

import pytest

from tests.scan.gating import gated, is_clean, rules

HARM, CODE, REMOTE = "checkpoint-names-harm", "checkpoint-carries-code", "checkpoint-remote-code"
ERROR = f"{HARM} error"
INERT = "!!python/object/apply:os.getpid []"
HOSTILE = [
    ("a: !!python/object/apply:os.system ['true']", ERROR),
    ("a: !!python/name:os.system", ERROR),
    ("a: !!python/module:subprocess", ERROR),
    ("- !!python/object/new:type\n  args: ['z', [], {extend: !!python/name:exec }]", ERROR),
    ("x: !<tag:yaml.org,2002:python/object/apply:os.system> [a]", ERROR),
    ("%TAG ! tag:yaml.org,2002:python/\n---\nx: !object/apply:os.system [a]", ERROR),
    ("%TAG !e! tag:yaml.org,2002:pyth\n---\nx: !e!on/name:os.system", ERROR),
    ("a: !!pyth%6fn/object/apply:os.system [x]", ERROR),
    ("{a: !!python/object/apply:os.system [x]}", ERROR),
    ("? !!python/name:os.system\n: 1", ERROR),
    ("a: 'text'\nb:\n- c\n- !!python/name:os.system", ERROR),
    ("x: !apply:os.system [true]", ERROR),
    ("a: !!python/object/apply:unknown.function []", f"{HARM} warning"),
    ("!!javax.script.ScriptEngineManager [x]", f"{HARM} warning"),
    ("a: !ruby/object:Gem::Installer {}", f"{HARM} warning"),
    ("model:\n  _target_: os.system\n  command: 'true'", ERROR),
    ('model:\n  "\\x5ftarget_": os.system', ERROR),
    ("model: {_target_: 'subprocess.run'}", ERROR),
    ("name: os.system\nmodel:\n  _target_: ${name}", ERROR),
    ("m: {f: system, inner: {_target_: 'os.${..f}'}}", ERROR),
    ("a:\n- o\n- s\nmodel:\n  _target_: ${a.0}${a[1]}.${oc.env:NONE,system}", ERROR),
    ("[model]\n_target_ = 'os.system'\n", ERROR),
    ('[model]\n"\\u005ftarget_" = "os.system"\n', ERROR),
    ("x: ${eval:\"__import__('os').getpid()\"}", f"{CODE} error"),
    ("x: ['${python:open(1)}']", f"{CODE} error"),
    ("auto_map:\n  AutoModel: someone/else--modeling.Net", f"{REMOTE} error"),
    ("python_function:\n  loader_module: mine.loader\n", f"{REMOTE} warning"),
    ("model:\n  target: os.system\n  params: {command: 'true'}", ERROR),
    ("m: {target: ldm.Net, params: {first: {target: subprocess.Popen, params: {args: x}}}}", ERROR),
    ("encoder:\n  target: os.system\n  command: 'true'", ERROR),
    ("formatters:\n  x: {(): os.system, command: 'true'}\n", ERROR),
    ("handlers:\n  x: {class: subprocess.Popen, args: 'true'}\n", ERROR),
    ("a: {_target_: pathlib.Path.write_text, _args_: [a, b]}", ERROR),
    ("a: {_target_: builtins.setattr, _args_: [torch.optim, AdamW, 0]}", f"{HARM} warning"),
    ("a: {_target_: operator.methodcaller, name: x}", f"{HARM} warning"),
    ("a: !!python/module:mine.start", f"{HARM} warning"),
    ("m: {_target_: transformers.AutoModel.from_pretrained, trust_remote_code: true}", f"{REMOTE} warning"),
    ("chat_template: \"{{ x.__globals__ }}\"", "checkpoint-template-reaches error"),
]  # fmt: skip
CLEAN = [
    f"# {INERT}\na: b",
    f"a: '{INERT}'\nb: \"{INERT}\"",
    f"a: |\n  {INERT}\n  x: y\nb: >\n  {INERT}",
    f"a: text\n  {INERT}",
    f"Some text about {INERT}\nand more: of it",
    f"```yaml\na: {INERT}\n```",
    f'"""A module."""\n\nTEXT = "a: {INERT}"\n\n\ndef f(x: int) -> int:\n    return {{"_target_": x}}\n',
    f"* a list in Markdown\n* `{INERT}`\n\n![picture](x.png)",
    "a: !!python/tuple [1, 2]\nb: !!python/none\nc: !!python/unicode 'x'\nd: !!set {e, f}\n",
    "emoji_index: !!python/name:material.extensions.emoji.twemoji\n",
    "hparams: !!python/object:argparse.Namespace {lr: 0.1}\n",
    "p: !!python/object/apply:pathlib.PosixPath [a, b]\n",
    "s: !!python/object/apply:numpy.core.multiarray.scalar [x, y]\n",
    "file: !include other.yaml\nenv: !ENV [A]\nref: !Ref Bucket\n",
    "seed: 1234\n__set_seed: !apply:torch.manual_seed [!ref <seed>]\nnet: !new:speechbrain.nnet.CNN.Conv1d\n",
    "model:\n  _target_: src.models.Net\n  optimizer: {_target_: torch.optim.Adam, _partial_: true}\n",
    "lr: ${eval:'${base_lr} * ${batch} / 256'}\nid: ${oc.env:HOME}\nnow: ${now:%Y}\n",
    "o: ${o}\nmodel:\n  _target_: ${o}\nnet:\n  _target_: ${models.name}\n",
    "x: {_target_: 'a.${y}', y: '${x.y}'}\n",
    "python_function:\n  loader_module: mlflow.sklearn\n  python_version: 3.11\n",
    "[tool.x]\n_target_ = 'mine.Thing'\nnote = 'os.system'\n",
    "model:\n  target: ldm.models.Net\n  params:\n    unet: {target: torch.nn.Identity, params: {}}\n",
    "spec:\n  target: os.linux\n  metrics: {target: {type: Utilization}}\nhost: {target: 'io.test.a'}\n",
    "handlers:\n  f: {class: logging.FileHandler, filename: a}\n  o: {class: logging.StreamHandler}\n",
    "formatters: {a: {(): uvicorn.logging.AccessFormatter}}\nhandlers: {restart: {class: x}}\n",
    "m: {_target_: transformers.AutoModel.from_pretrained, trust_remote_code: false}\n",
    "callbacks:\n  - _target_: torch.manual_seed\n  - {_target_: torch.set_default_dtype, d: x}\n",
    "x: !!python/module:numpy.random\n",
    "loggers:\n  - class_path: lightning.pytorch.loggers.CSVLogger\n    init_args: {save_dir: logs}\n",
]


@pytest.mark.parametrize(("text", "rule"), HOSTILE)
def test_what_a_loader_would_do_is_found(text: str, rule: str) -> None:
    assert rules(text, "config.yaml") == [rule]
    assert rules(text.encode("utf-16"), "config") == [rule] or "model]" in text


@pytest.mark.parametrize("text", CLEAN)
def test_ordinary_texts_are_clean(text: str) -> None:
    assert is_clean(text)


def test_documents_before_one_that_breaks_off_are_told() -> None:
    assert rules("a: !!python/name:os.system\n---\n[") == [ERROR]
    assert is_clean("[\n---\na: !!python/name:os.system\n")


def test_a_text_that_is_too_large_is_incomplete_only_when_it_may_say_something() -> None:
    long = "a: b\n" * 1_000_000

    assert is_clean(long)
    assert gated(f"{long}c: {INERT}\n").status != "clean"
    program = 'int f(void) {\n  return "\\x41"[0];  /* class_name */\n}\n'
    assert is_clean(program * 80_000, "amalgamation.c")


def test_a_bomb_of_aliases_is_not_unfolded() -> None:
    bomb = "t: !!python/tuple []\na: &a [x, x, x, x, x, x, x, x, x, x]\n"
    for before, name in zip("abcdefghi", "bcdefghij", strict=True):
        bomb += f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n"

    assert gated(bomb).status in ("incomplete", "findings")


def test_lines_are_named() -> None:
    (found,) = gated("a: 1\nb: 2\nc: !!python/name:os.system\n").findings

    assert found.evidence[0].name == "line 3"
