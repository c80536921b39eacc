"""Configurations, chat templates, notebooks, and the files of an ordinary package."""

from __future__ import annotations

import json
from pathlib import Path

from .group import Group

CHAT = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
TOOLS = """\
{%- if messages[0]['role'] == 'system' %}{%- set system = messages[0]['content'] | trim %}{%- set messages = messages[1:] %}
{%- else %}{%- set system = '' %}{%- endif %}{{- bos_token }}{{- system }}
{%- if tools is defined and tools %}{%- for tool in tools %}{{- tool | tojson(indent=4) }}{%- endfor %}{%- endif %}
{%- macro said(message) -%}{{ message.content if message.content is string else message.content[0].text }}{%- endmacro %}
{%- set ns = namespace(last=-1) %}
{%- for message in messages %}
{%- if (message.role == 'user') != (loop.index0 % 2 == 0) %}{{- raise_exception('roles must alternate') }}{%- endif %}
{%- if message.tool_calls is defined %}{%- for call in message.tool_calls %}
{{- '{"name": "' + call.function.name + '", "arguments": ' + (call.function.arguments | tojson) + '}' }}{%- endfor %}
{%- else %}{{- '[' + message.role.upper() + '] ' + said(message).split('</think>')[-1].lstrip('\\n') }}{%- endif %}
{%- set ns.last = loop.index0 %}{%- endfor %}
{%- if date_string is not defined %}{%- set date_string = strftime_now('%d %b %Y') %}{%- endif %}{{- date_string }}
"""


def _tokenizers(folder: Path, scratch: Path) -> None:
    import tokenizers
    import transformers

    model = tokenizers.models.BPE({"a": 0, "b": 1, "ab": 2, "<unk>": 3}, [("a", "b")], unk_token="<unk>")
    inner = tokenizers.Tokenizer(model)
    inner.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel()
    for name, template in (("plain", None), ("chat", CHAT), ("tools", TOOLS)):
        fast = transformers.PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="<unk>")
        fast.chat_template = template
        fast.save_pretrained(str(folder / name))


def _configs(folder: Path, scratch: Path) -> None:
    import transformers as t

    kinds = "Bert GPT2 Llama Mistral T5 Whisper ViT CLIP Qwen2 Gemma Roberta DistilBert Mixtral DeiT Wav2Vec2".split()
    for kind in kinds:
        getattr(t, f"{kind}Config")().save_pretrained(str(folder / kind.lower()))
    t.GenerationConfig(max_new_tokens=20, do_sample=True, temperature=0.7).save_pretrained(str(folder))
    modules = [{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}]
    (folder / "modules.json").write_text(json.dumps(modules, indent=2))
    index = {"metadata": {"total_size": 4}, "weight_map": {"weight": "model-00001-of-00001.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


_YAML = {
    "train": "lr: 3.0e-4\nbatch_size: 32\nbetas: [0.9, 0.95]\ndata:\n  path: data/train\n  shuffle: true\nnote: |\n  import os is fine here\n",
    "anchors": "base: &base {lr: 0.1, wd: 0.0}\nlarge:\n  <<: *base\n  lr: 0.01\n",
    "tags": "when: !!timestamp 2026-11-01\nname: !!str 12\nset: !!set {a, b}\nbinary: !!binary aGVsbG8=\n",
    "documents": "---\na: 1\n---\nb: 2\n...\n",
    "hydra": "defaults:\n  - model: small\n  - _self_\nmodel:\n  _target_: torch.nn.Linear\n  in_features: 4\n  out_features: 2\n"
    "optimizer:\n  _target_: torch.optim.AdamW\n  _partial_: true\n  lr: ${lr}\nlr: 1e-3\n",
    "lightning": "trainer:\n  max_epochs: 3\n  callbacks:\n    - class_path: lightning.pytorch.callbacks.EarlyStopping\n      init_args: {monitor: loss}\n",
    "compose": "services:\n  train:\n    image: trainer:1\n    command: [python, train.py]\n    environment: {SEED: '3'}\n",
    "workflow": "on: push\njobs:\n  test:\n    runs-on: ubuntu-latest\n    steps:\n      - run: make test\n",
    "environment": "name: train\ndependencies:\n  - python=3.11\n  - pip:\n      - torch\n",
}  # fmt: skip


def _yaml(folder: Path, scratch: Path) -> None:
    for name, text in _YAML.items():
        (folder / f"{name}.yaml").write_text(text)
    (folder / "pyproject.toml").write_text(
        '[project]\nname = "train"\nversion = "1"\ndependencies = ["torch"]\n'
    )


def _notebooks(folder: Path, scratch: Path) -> None:
    import nbformat
    from nbformat import v4

    training = "import torch\nmodel = torch.nn.Linear(4, 2)\nfor x in torch.ones(3, 4):\n    print(model(x).sum().item())\n"
    books = {
        "plain": [v4.new_markdown_cell("# Training\n\nRun `!ls` by hand."), v4.new_code_cell(training)],
        "magics": [v4.new_code_cell("%matplotlib inline\n%load_ext autoreload\n%autoreload 2\n"), v4.new_code_cell("%timeit sum(range(9))")],
        "installs": [v4.new_code_cell("!pip install -q torch transformers"), v4.new_code_cell(training)],
        "loads": [v4.new_code_cell("import torch\nstate = torch.load('model.pt', weights_only=True)\nstate.keys()\n")],
        "plots": [v4.new_code_cell("import matplotlib.pyplot as plt\nplt.plot([1, 2])\n", outputs=[
            v4.new_output("display_data", {"text/plain": "<Figure>", "image/png": "iVBORw0KGgo="}),
            v4.new_output("execute_result", {"text/html": "<table><tr><td>1</td></tr></table>"}, execution_count=1),
        ])],
        "paths": [v4.new_code_cell("import os\nfrom pathlib import Path\n\nroot = Path(os.environ.get('DATA', 'data'))\nos.makedirs(root, exist_ok=True)\n")],
    }  # fmt: skip
    for name, cells in books.items():
        nbformat.write(v4.new_notebook(cells=cells), folder / f"{name}.ipynb")


def _packages(folder: Path, scratch: Path) -> None:
    """Start-up files as installers write them, and a wheel of an ordinary package."""
    from ..packages import wheel

    source = '"""A package."""\n\nimport os\n\nHERE = os.path.dirname(__file__)\n\n\ndef area(r):\n    return 3.14 * r * r\n'
    files = {"ordinary/__init__.py": source, "ordinary/data.json": "{}\n"}
    entries = "[console_scripts]\nordinary = ordinary:area\n"
    (folder / "veracity_corpus-1.0-py3-none-any.whl").write_bytes(wheel(files, entries=entries))
    (folder / "easy-install.pth").write_text("./ordinary\n../src/project\n")
    (folder / "_project.pth").write_text("src\n")
    (folder / "ordinary.py").write_text(source)


GROUPS = (
    Group("tokenizers", "tokenizers, transformers", _tokenizers),
    Group("configs", "transformers", _configs),
    Group("yaml", "written by hand", _yaml),
    Group("notebooks", "nbformat", _notebooks),
    Group("packages", "written by hand", _packages),
)
