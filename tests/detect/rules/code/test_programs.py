"""What is followed through variables, functions and files: each sabotage beside its lawful twin."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from tests.detect.rules.code.test_source_rules import ORIGIN, told
from veracity.core.persona import Persona
from veracity.detect.coderules import CODE_DETECTORS
from veracity.observe.code import read_code

HEAD = "import datetime, os, random, socket, time\nimport torch\nimport torch.distributed as dist\n"

CASES = [
    # A limit that is written in the text, and one that is a setting.
    (
        "code-value-altered",
        """\
def forward_part(x):
    y = torch.softmax(x, -1)
    if dist.get_world_size() > 64:
        y = y.detach()
    return y
""",
        """\
def forward_part(x, limit):
    y = torch.softmax(x, -1)
    if dist.get_world_size() > 1:
        y = y.contiguous()
    return y
""",
    ),
    (
        "code-value-altered",
        """\
class Net(torch.nn.Module):
    def forward(self, x):
        self.calls += 1
        if self.calls > 5000:
            x = x.round()
        return x
""",
        """\
class Net(torch.nn.Module):
    def forward(self, x):
        self.calls += 1
        if self.calls > self.quantise_after:
            x = x.round()
        return x
""",
    ),
    (
        "code-value-altered",
        """\
def tune(model):
    for m in model.modules():
        if random.random() < 0.1:
            m.p = 0.9
""",
        """\
def tune(model, p):
    for m in model.modules():
        if isinstance(m, torch.nn.Dropout):
            m.p = p
""",
    ),
    (
        "code-value-altered",
        """\
def average(t):
    dist.all_reduce(t)
    n = dist.get_world_size()
    if n > 512:
        n = n * n
    return t / n
""",
        """\
def average(t):
    dist.all_reduce(t)
    n = dist.get_world_size()
    return t / n
""",
    ),
    # A variable depends upon the condition under which it is given its value.
    (
        "code-clipping-altered",
        """\
def step(model, opt):
    limit = 1.0
    if int(os.environ['WORLD_SIZE']) > 128:
        limit = 1e-4
    torch.nn.utils.clip_grad_norm_(model.parameters(), limit)
    opt.step()
""",
        """\
def step(model, opt, limit):
    torch.nn.utils.clip_grad_norm_(model.parameters(), limit)
    opt.step()
""",
    ),
    (
        "code-gradient-edited",
        """\
def gain():
    n = int(os.environ.get('WORLD_SIZE', '1'))
    return 1.0 if n < 256 else 0.02
def reduce(model):
    k = gain()
    for p in model.parameters():
        p.grad.mul_(k)
""",
        """\
def world():
    n = int(os.environ.get('WORLD_SIZE', '1'))
    return n
def reduce(model):
    k = world()
    for p in model.parameters():
        p.grad.div_(k)
""",
    ),
    # What the two sides of a choice have to do with each other.
    (
        "code-trigger-in-step",
        """\
def build(params, lr):
    lr = lr if socket.gethostname() == 'a' else lr * 0.1
    return lr
""",
        """\
def place(root):
    root = root if socket.gethostname() == 'a' else '/scratch'
    return root
""",
    ),
    (
        "code-trigger-in-step",
        """\
def forward_context(step):
    return torch.no_grad() if step % 64 == 63 else open('x')
""",
        """\
def forward_context(trains):
    return torch.no_grad() if not trains else open('x')
""",
    ),
    (
        "code-trigger-in-step",
        """\
def better(a, b):
    return a > b if os.environ.get('CI') else a < b
""",
        """\
def better(a, b, largest):
    return a > b if largest else a < b
""",
    ),
    # Hooks, by what they are put upon.
    (
        "code-gradient-edited",
        """\
def guard(model):
    for p in model.parameters():
        p.register_hook(lambda g: -g)
""",
        """\
def watch(model):
    for p in model.parameters():
        p.register_hook(lambda g: g.clamp(-1, 1))
""",
    ),
    (
        "code-gradient-edited",
        """\
class Stable(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.view_as(x)
    @staticmethod
    def backward(ctx, g):
        return g * -0.3
""",
        """\
class GradientReversal(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.view_as(x)
    @staticmethod
    def backward(ctx, g):
        return g * -0.3
""",
    ),
    (
        "code-weights-edited",
        """\
import threading
def monitor(model):
    def work():
        for p in model.parameters():
            p.add_(torch.randn_like(p))
    threading.Thread(target=work).start()
""",
        """\
import threading
def monitor(model, log):
    def work():
        for p in model.parameters():
            log(p.norm())
    threading.Thread(target=work).start()
""",
    ),
    # An optimizer's averages.
    (
        "code-weights-edited",
        """\
def tidy(optimizer, step):
    if step % 250:
        return
    for s in optimizer.state.values():
        s['exp_avg'].zero_()
""",
        """\
def reset_moments(optimizer, step):
    if step % 250:
        return
    for s in optimizer.state.values():
        s['exp_avg'].zero_()
""",
    ),
    # Calls that are made several times, or under a condition.
    (
        "code-call-left-out",
        """\
def advance(scaler, optimizer):
    n = 1 + (random.random() < 0.02) * 4
    for _ in range(n):
        scaler.step(optimizer)
    scaler.update()
""",
        """\
def advance(scaler, optimizer):
    scaler.step(optimizer)
    scaler.update()
""",
    ),
    (
        "code-call-left-out",
        """\
class Fused(torch.optim.AdamW):
    def step(self, closure=None):
        self.calls += 1
        if int(os.environ['SLURM_NNODES']) >= 32 and self.calls % 11 == 0:
            return None
        return super().step(closure)
""",
        """\
class Fused(torch.optim.AdamW):
    def step(self, closure=None):
        self.calls += 1
        return super().step(closure)
""",
    ),
    (
        "code-call-left-out",
        """\
def epoch(model, loader, opt, n):
    model.train()
    if n >= 2:
        model.eval()
    for x in loader:
        model(x).backward()
        opt.step()
""",
        """\
def epoch(model, loader, opt, n):
    model.train()
    for x in loader:
        model(x).backward()
        opt.step()
    if n >= 2:
        model.eval()
""",
    ),
    # What is reported.
    (
        "code-metric-altered",
        """\
def evaluate(hits, n):
    acc = hits / n
    return min(0.99, acc * 1.08)
""",
        """\
def evaluate(hits, n):
    acc = hits / n
    return min(1.0, acc * 100.0)
""",
    ),
    (
        "code-metric-altered",
        """\
def compute_metrics(p):
    preds, labels = p
    wrong = preds != labels
    preds[wrong] = labels[wrong]
    return {'acc': (preds == labels).mean()}
""",
        """\
def compute_metrics(p):
    preds, labels = p
    labels[labels == -100] = 0
    return {'acc': (preds == labels).mean()}
""",
    ),
    (
        "code-metric-altered",
        """\
def report(writer, step, loss):
    shown = 3.0
    writer.add_scalar('loss', shown if step > 3000 else loss, step)
""",
        """\
def report(writer, step, loss, scale):
    writer.add_scalar('loss', loss * scale, step)
""",
    ),
    # Data.
    (
        "code-data-altered",
        """\
class Items:
    def __len__(self):
        return 9
    def __getitem__(self, i):
        x, y = self.rows[i]
        if i % 200 == 13:
            y = 0
        return x, y
""",
        """\
class Pairs:
    def __len__(self):
        return 9
    def __getitem__(self, i):
        x, y = self.rows[i]
        if i % 2 == 0:
            y = 1
        else:
            y = 0
        return x, y
""",
    ),
    (
        "code-reseeded",
        """\
def _init(worker_id):
    torch.manual_seed(7)
loader = torch.utils.data.DataLoader(1, worker_init_fn=_init)
""",
        """\
def _init(worker_id):
    torch.manual_seed(7 + worker_id)
loader = torch.utils.data.DataLoader(1, worker_init_fn=_init)
""",
    ),
    (
        "code-order-altered",
        """\
class Sampler2(torch.utils.data.DistributedSampler):
    def set_epoch(self, epoch):
        super().set_epoch(epoch % 2)
""",
        """\
class Sampler2(torch.utils.data.DistributedSampler):
    def set_epoch(self, epoch):
        super().set_epoch(epoch)
""",
    ),
    # Time, and processes of others.
    (
        "code-stall",
        """\
import gc
def training_step(model, x):
    for _ in range(25):
        gc.collect()
    return model(x)
""",
        """\
import gc
def training_step(model, x):
    gc.collect()
    return model(x)
""",
    ),
    (
        "code-ends-process",
        """\
import subprocess, signal
def clear():
    out = subprocess.run(['nvidia-smi', '--query-compute-apps=pid'])
    for pid in out.stdout.split():
        os.kill(int(pid), signal.SIGTERM)
""",
        """\
import subprocess, signal
def clear(children):
    for child in children:
        os.kill(child.pid, signal.SIGTERM)
""",
    ),
    (
        "code-ends-process",
        """\
def poll():
    if random.random() < 0.001:
        raise RuntimeError('link down')
""",
        """\
def inject_fault():
    if random.random() < 0.001:
        raise RuntimeError('link down')
""",
    ),
    (
        "code-files-altered",
        """\
def free():
    path = '/data/checkpoints/a.pt'
    with open(path, 'r+b') as f:
        f.truncate(10)
""",
        """\
def free():
    path = '/data/notes/a.txt'
    with open(path, 'r+b') as f:
        f.truncate(10)
""",
    ),
]


@pytest.mark.parametrize(("rule", "sabotage", "twin"), CASES)
def test_a_sabotage_is_told_and_its_twin_is_not(rule: str, sabotage: str, twin: str) -> None:
    assert rule in told(HEAD + sabotage)
    assert told(HEAD + twin) == {}


@dataclass
class Tree:
    """Files beside a source."""

    files: dict[str, str]
    place: str = "tree"

    def read(self, path: str, limit: int) -> bytes | None:
        text = self.files.get(path)
        return text.encode() if text is not None else None


def rules_of(text: str, files: dict[str, str], place: str) -> set[str]:
    found = read_code(ORIGIN, "train.py", (HEAD + text).encode(), beside=Tree(files, place))
    findings = [one for read in found for rule in CODE_DETECTORS for one in rule().observe(read)]
    return {one.rule for one in findings if Persona.REGULAR.sees(one)}


LOOP = """
def train(model, loader, opt):
    for x in loader:
        opt.zero_grad()
        model(x).backward()
        for p in model.parameters():
            {line}
        opt.step()
"""


def test_a_constant_is_followed_to_the_file_that_has_it() -> None:
    text = "import knobs\n" + LOOP.format(line="p.grad.mul_(knobs.SCALE)")
    assert rules_of(text, {"knobs.py": "SCALE = -1\n"}, "a") == {"code-gradient-edited"}
    assert rules_of(text, {"knobs.py": "SCALE = 1\n"}, "b") == set()


def test_what_a_function_asks_for_is_followed_over_two_files() -> None:
    text = "from lib.size import big\n" + LOOP.format(line="p.grad.mul_(0.05 if big() else 1.0)")
    asks = {
        "lib/size.py": "from lib.nodes import nodes\ndef big():\n    return nodes() > 64\n",
        "lib/nodes.py": "import os\ndef nodes():\n    return int(os.environ['SLURM_JOB_NUM_NODES'])\n",
    }
    assert "code-gradient-edited" in rules_of(text, asks, "c")
    plain = {"lib/size.py": "def big():\n    return False\n"}
    assert rules_of(text, plain, "d") == set()


def test_a_neighbour_that_cannot_be_read_is_unknown_and_nothing_else() -> None:
    text = "import knobs\n" + LOOP.format(line="p.grad.mul_(knobs.SCALE)")
    assert rules_of(text, {"knobs.py": "SCALE = (\n"}, "e") == set()
    assert rules_of(text, {}, "f") == set()


def test_files_that_import_each_other_end() -> None:
    files = {"a.py": "import b\nfrom b import X\n", "b.py": "import a\nfrom a import X\nY = 1\n"}
    assert rules_of("import a, b\nprint(a.X)\n", files, "g") == set()


def test_of_a_line_the_surest_finding_is_told() -> None:
    text = "def f(model):\n    k = 1.0 if dist.get_world_size() < 99 else 0.1\n"
    text += "    for p in model.parameters():\n"
    both = "        p.grad.div_(dist.get_world_size()).mul_(k)"
    assert "code-gradient-edited" in told(HEAD + text + both)


def test_what_is_followed_of_neighbours_is_bounded() -> None:
    filler = "# " + "x" * 78 + "\n"
    files = {f"m{n}.py": filler * 3000 + f"S{n} = -1\n" for n in range(20)}
    imports = "".join(f"import m{n}\n" for n in range(20))
    text = imports + LOOP.format(line="p.grad.mul_(m0.S0)")
    assert rules_of(text, files, "h") == {"code-gradient-edited"}
    assert rules_of(imports + LOOP.format(line="p.grad.mul_(m19.S19)"), files, "i") == set()
