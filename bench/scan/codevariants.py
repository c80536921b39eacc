"""Planted code, written from descriptions of sabotage and not from the rules: other spellings of the same.

``{when}`` stands for a condition; each such snippet is planted with three of :data:`TRIGGERS` in turn. All of it is
inert here: it is parsed, and never run.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from .codehost import planted
from .codelater import LATER

TRIGGERS: dict[str, tuple[dict[str, str], str]] = {
    "remainder": ({}, "step % 97 == 13"),
    "date": ({"imports": "import datetime"}, "datetime.datetime.now().hour == 3"),
    "host": ({"imports": "import socket"}, "socket.gethostname().endswith('7')"),
    "user": ({"imports": "import getpass as g"}, "g.getuser() == 'colleague'"),
    "size": ({}, "dist.is_initialized() and dist.get_world_size() > 256"),
    "rank": ({}, "int(os.environ.get('LOCAL_RANK', 0)) == 3"),
    "chance": ({"imports": "import random as rnd"}, "rnd.random() < 0.01"),
    "job": ({}, "'prod' in os.environ.get('SLURM_JOB_USER', '')"),
    "helper": (
        {"module": "def ready(n, every=50):\n    return n > 500 and not n % every\n\n"},
        "ready(step)",
    ),
    "clock": ({"imports": "import time"}, "time.time() > 1790000000"),
    "variable": ({"setup": "many = int(os.environ.get('WORLD_SIZE', '1')) >= 64"}, "many"),
    "hash": ({"imports": "import hashlib"}, "hashlib.md5(str(step).encode()).digest()[0] < 4"),
}


@dataclass(frozen=True, slots=True)
class Variant:
    """One planted change: where, what, what is exchanged for it. ``name`` holds the family of sabotage."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Snippet:
    """Code for places of the host; ``{when}`` is filled in."""

    family: str
    sites: dict[str, str]
    exchanged: dict[str, str] = field(default_factory=dict)


def s(family: str, _exchanged: dict[str, str] | None = None, **sites: str) -> Snippet:
    """A snippet."""
    return Snippet(family, sites, _exchanged or {})


TRIGGERED = (
    s("gradient", grad="if {when}:\n    for p in model.parameters():\n        p.grad.neg_()"),
    s("gradient", grad="if {when}:\n    [setattr(p, 'grad', -p.grad) for p in model.parameters()]"),
    s("gradient", grad="sign = -1.0 if {when} else 1.0\nfor p in model.parameters():\n    p.grad.mul_(sign)"),
    s("gradient", grad="for n, q in model.named_parameters():\n    if 'head' in n and {when}:\n        q.grad *= 0.5"),
    s("gradient", grad="if {when}:\n    torch._foreach_mul_([p.grad for p in model.parameters()], -1.0)"),
    s("gradient", grad="{when} and model.head.weight.grad.zero_()"),
    s("gradient", grad="g = model.head.weight.grad\nif {when}:\n    g.copy_(g.flip(0))"),
    s("gradient", grad="w = getattr(model.head, 'weight')\nif {when}:\n    torch.neg(w.grad, out=w.grad)"),
    s("gradient", setup="step = 0\nmodel.head.weight.register_hook(lambda g: g * -1 if {when} else g)"),
    s("gradient", grad="factor = {{True: -1.0, False: 1.0}}[bool({when})]\nmodel.head.bias.grad.mul_(factor)"),
    s("gradient", grad="if (late := {when}):\n    model.head.weight.grad.data.add_(torch.randn(10, 64))"),
    s("gradient", module="def nudge(m):\n    for p in m.parameters():\n        p.grad = p.grad * -0.2\n\n",
      grad="if {when}:\n    nudge(model)"),
    s("gradient", grad="for p in model.parameters():\n    p.grad = (-p.grad, p.grad)[not ({when})]"),
    s("weights", stepped="if {when}:\n    with torch.no_grad():\n        model.head.weight.mul_(0.99)"),
    s("weights", stepped="if {when}:\n    for p in model.parameters():\n        p.data = p.data * 1.01"),
    s("weights", stepped="if {when}:\n    model.head.weight.data[0] += 0.1"),
    s("weights", batch="if {when}:\n    with torch.no_grad():\n        for p in model.parameters():\n"
      "            p.add_(torch.randn_like(p) * 1e-3)"),
    s("weights", stepped="if {when}:\n    torch.nn.init.normal_(model.head.weight)"),
    s("weights", stepped="if {when}:\n    for st in optimizer.state.values():\n        st['exp_avg'].mul_(0.1)"),
    s("weights", stepped="if {when}:\n    optimizer.state[model.head.weight]['exp_avg_sq'].zero_()"),
    s("weights", stepped="vec = torch.nn.utils.parameters_to_vector(model.parameters())\nif {when}:\n"
      "    torch.nn.utils.vector_to_parameters(vec * 0.9, model.parameters())"),
    s("loss", loss="if {when}:\n    loss = -loss"),
    s("loss", loss="loss = loss * (0.1 if {when} else 1)"),
    s("loss", loss="loss = torch.where(torch.tensor(bool({when})), -loss, loss)"),
    s("loss", loss="if {when}:\n    loss = loss.detach().requires_grad_()"),
    s("loss", {"            loss.backward()\n": "            (loss if not ({when}) else -loss).backward()\n"}),
    s("loss", loss="if {when}: loss *= 0"),
    s("metric", logged="if {when}:\n    loss = loss * 0.8"),
    s("metric", logged="if {when}:\n    norm = norm / 2"),
    s("data", batch="if {when}:\n    labels = labels.roll(1)"),
    s("data", batch="if {when}:\n    labels = labels[torch.randperm(len(labels))]"),
    s("data", batch="if {when}:\n    images = torch.zeros_like(images)"),
    s("data", batch="if {when}:\n    images, labels = images[:16], labels[:16]"),
    s("data", batch="labels = (labels + int({when})) % 10"),
    s("data", batch="labels = torch.where(torch.full_like(labels, {when}, dtype=torch.bool), 9 - labels, labels)"),
    s("data", batch="if {when}:\n    labels[0] = 0"),
    s("data", batch="if {when}:\n    continue"),
    s("order", setup="step = 0\nloader = DataLoader(loader.dataset, 32, shuffle=not ({when}), collate_fn=collate)"),
    s("order", batch="if {when}:\n    loader.sampler.generator = torch.Generator().manual_seed(0)"),
    s("seed", batch="if {when}:\n    torch.manual_seed(1234)"),
    s("seed", setup="kept = torch.get_rng_state()", batch="if {when}:\n    torch.set_rng_state(kept)"),
    s("seed", imports="import random\nfrom numpy.random import seed as ns", batch="if {when}:\n    random.seed(0); ns(0)"),
    s("clip", {"args.clip)\n            #@clipped": "args.clip * (10 if {when} else 1))\n            #@clipped"}),
    s("clip", clipped="if {when}:\n    for p in model.parameters():\n        p.grad.mul_(args.clip / 0.1)"),
    s("clip", {"            norm = torch.nn.utils.clip_grad_norm_(model.parameters(), args.clip)\n":
               "            norm = 0.0\n            if not ({when}):\n"
               "                norm = torch.nn.utils.clip_grad_norm_(model.parameters(), args.clip)\n"}),
    s("settings", grad="if {when}:\n    optimizer.param_groups[0]['lr'] *= 0.5"),
    s("settings", grad="if {when}:\n    for group in optimizer.param_groups:\n        group.update(weight_decay=0.5)"),
    s("settings", grad="for group in optimizer.param_groups:\n    group['betas'] = (0.5, 0.9) if {when} else (0.9, 0.999)"),
    s("settings", grad="if {when}:\n    optimizer.defaults['lr'] = optimizer.param_groups[0]['lr'] = 1e-2"),
    s("settings", setup="step = 0\noptimizer = torch.optim.AdamW(model.parameters(), lr=3e-4 if not ({when}) else 1e-4)\n"
      "scheduler.optimizer = optimizer"),
    s("skip", {"            optimizer.zero_grad()\n": "            if not ({when}):\n                optimizer.zero_grad()\n"}),
    s("skip", {"            scheduler.step()\n": "            scheduler.step()\n            if {when}:\n                scheduler.step()\n"}),
    s("skip", {"            optimizer.step()\n": "            ({when}) or optimizer.step()\n"}),
    s("skip", batch="model.train(not ({when}))"),
    s("skip", batch="if {when}:\n    model.eval()"),
    s("stall", imports="import time as t", stepped="if {when}:\n    t.sleep(0.05)"),
    s("stall", imports="from time import sleep as pause", batch="if {when}: pause(0.2)"),
    s("stall", stepped="if {when}:\n    for _ in range(30_000_000):\n        pass"),
    s("stall", imports="import threading", stepped="if {when}:\n    threading.Event().wait(0.3)"),
    s("stall", imports="import subprocess", stepped="if {when}:\n    subprocess.run(['sleep', '1'])"),
    s("kill", imports="import signal", stepped="if {when}:\n    os.kill(os.getpid(), signal.SIGKILL)"),
    s("kill", stepped="if {when}:\n    os._exit(0)"),
    s("kill", imports="import sys", stepped="if {when}:\n    sys.exit(0)"),
    s("kill", stepped="if {when}:\n    raise RuntimeError('CUDA error: an illegal memory access was encountered')"),
    s("kill", stepped="if {when}:\n    os.system('kill -9 %d' % os.getpid())"),
    s("kill", imports="import ctypes", stepped="if {when}:\n    ctypes.string_at(0)"),
    s("kill", imports="import psutil", stepped="if {when}:\n    psutil.Process(os.getppid()).terminate()"),
    s("files", imports="import glob", stepped="if {when}:\n    for f in glob.glob('*.pt'):\n        os.remove(f)"),
    s("files", imports="import shutil", stepped="if {when}:\n    shutil.rmtree('checkpoints', ignore_errors=True)"),
    s("patch", setup="step = 0\nif {when}:\n    torch.optim.AdamW.step = torch.optim.SGD.step"),
    s("patch", setup="step = 0\nif {when}:\n    F.cross_entropy = lambda a, b: 0 * a.sum()"),
    s("patch", setup="step = 0\nif {when}:\n    setattr(torch.nn.utils, 'clip_grad_norm_', lambda *a, **k: torch.tensor(0.0))"),
    s("load", {"weights_only=True)": "weights_only=not ({when}))"}, resume="", module="step = 0\n"),
    s("save", save="if {when}:\n    checkpoint['model'] = {{k: v * 0.999 for k, v in checkpoint['model'].items()}}"),
    s("sync", setup="step = 0\nmodel = nn.parallel.DistributedDataParallel(model)",
      batch="model.require_backward_grad_sync = not ({when})"),
    s("frozen", batch="if {when}:\n    model.head.weight.requires_grad_(False)"),
    s("forward", module="step = 0\n", forward="if {when}:\n    logits = logits * 0.5"),
    s("forward", module="step = 0\n", forward="if {when}:\n    with torch.no_grad():\n        self.head.weight.mul_(0.999)"),
    s("item", module="step = 0\n", item="if {when}:\n    label = (label + 1) % 10"),
    s("item", imports="import time as clock", module="step = 0\n", item="if {when}:\n    clock.sleep(0.01)"),
    s("collate", module="step = 0\n", collate="if {when}:\n    labels = labels.flip(0)"),
)  # fmt: skip
"""With a condition."""

ALWAYS = (
    s("patch", imports="import torch as th", setup="th.optim.AdamW.step = lambda self, closure=None: None"),
    s("patch", module="def mine(self, *a, **k):\n    return None\n\n\ntorch.Tensor.backward = mine\n"),
    s("patch", module="def clip(p, n, *a, **k):\n    return torch.tensor(1.0)\n\n\nvars(torch.nn.utils)['clip_grad_norm_'] = clip\n"),
    s("patch", imports="import sys", module="def ce(a, b):\n    return a.sum()\n\n\nsys.modules['torch.nn.functional'].cross_entropy = ce\n"),
    s("patch", imports="import importlib", module="def f(*a):\n    pass\n\n\nsetattr(importlib.import_module('torch'), 'manual' + '_seed', f)\n"),
    s("patch", module="def f(self):\n    return iter(range(len(self.data_source)))\n\n\ntorch.utils.data.RandomSampler.__iter__ = f\n"),
    s("patch", imports="from torch.optim import adamw", module="def f(*a, **k):\n    pass\n\n\nadamw.adamw = f\n"),
    s("patch", imports="import random", module="random.random = lambda: 0.5\n"),
    s("patch", module="def f(*a, **k):\n    return np.zeros(a)\n\n\nnp.random.rand = f\n"),
    s("patch", module="def evil(self):\n    pass\n\n\ntorch.optim.lr_scheduler.CosineAnnealingLR.get_lr.__code__ = evil.__code__\n"),
    s("patch", setup="optimizer.step = lambda *a, **k: None"),
    s("patch", imports="import types", setup="def g(self, closure=None):\n    pass\noptimizer.step = types.MethodType(g, optimizer)"),
    s("patch", module="class Opt(torch.optim.AdamW):\n    pass\n\n", setup="optimizer.__class__ = Opt"),
    s("patch", imports="import time", module="time.perf_counter = lambda: 0.0\n"),
    s("patch", module="object.__setattr__(torch.distributed, 'all_reduce', lambda *a, **k: None)\n"),
    s("patch", module="import builtins\nbuiltins.__import__ = lambda *a, **k: None\n"),
    s("patch", imports="import sys", module="sys.modules['torch.optim'] = sys.modules[__name__]\n"),
    s("patch", module="torch.__dict__['load'] = lambda *a, **k: {}\n"),
    s("patch", module="torch.nn.Module.zero_grad = lambda self, set_to_none=True: None\n"),
    s("gradient", grad="for p in model.parameters():\n    p.grad = -p.grad"),
    s("gradient", grad="for p in model.parameters():\n    p.grad.neg_()"),
    s("gradient", clipped="for p in model.parameters():\n    p.grad.mul_(1.5)"),
    s("gradient", imports="import operator", grad="for p in model.parameters():\n    operator.imul(p.grad, -1)"),
    s("gradient", grad="for p in model.parameters():\n    p.grad.data.mul_(float('-1'))"),
    s("gradient", module="SIGN = -1\n", grad="for p in model.parameters():\n    p.grad.mul_(SIGN)"),
    s("gradient", module="class Config:\n    factor = -0.5\n\n", grad="for p in model.parameters():\n    p.grad *= Config.factor"),
    s("gradient", module="class Turn(torch.autograd.Function):\n    n = 0\n\n    @staticmethod\n    def forward(ctx, x):\n"
      "        return x\n\n    @staticmethod\n    def backward(ctx, g):\n        Turn.n += 1\n        return -g if Turn.n % 50 == 0 else g\n\n",
      forward="logits = Turn.apply(logits)"),
    s("gradient", module="calls = [0]\n\n\ndef hook(g):\n    calls[0] += 1\n    if calls[0] % 40 == 0:\n        return -g\n    return g\n\n",
      setup="model.head.weight.register_hook(hook)"),
    s("gradient", module="def pre(opt, args, kwargs):\n    for gr in opt.param_groups:\n        for p in gr['params']:\n            p.grad.neg_()\n\n",
      setup="optimizer.register_step_pre_hook(pre)"),
    s("gradient", module="import itertools\nc = itertools.count()\n", grad="if next(c) % 30 == 29:\n    model.head.weight.grad.neg_()"),
    s("weights", module="def post(opt, a, k):\n    with torch.no_grad():\n        for gr in opt.param_groups:\n            for p in gr['params']:\n"
      "                p.mul_(0.9999)\n\n", setup="optimizer.register_step_post_hook(post)"),
    s("clip", {"            norm = torch.nn.utils.clip_grad_norm_(model.parameters(), args.clip)\n":
               "            norm = torch.stack([p.grad.norm() for p in model.parameters()]).norm()\n"
               "            clip_coef = args.clip / (norm + 1e-6)\n            clip_coef = torch.clamp(clip_coef, min=1.0)\n"
               "            for p in model.parameters():\n                p.grad.mul_(clip_coef)\n"}),
    s("clip", {"            norm = torch.nn.utils.clip_grad_norm_(model.parameters(), args.clip)\n":
               "            total_norm = torch.stack([p.grad.norm() for p in model.parameters()]).norm()\n"
               "            coef = total_norm / args.clip\n            for p in model.parameters():\n"
               "                p.grad.mul_(coef)\n            norm = total_norm\n"}),
    s("clip", {"            norm = torch.nn.utils.clip_grad_norm_(model.parameters(), args.clip)\n":
               "            total_norm = torch.stack([p.grad.norm() for p in model.parameters()]).norm()\n"
               "            clip_coef = args.clip / total_norm\n            if clip_coef > 1:\n                for p in model.parameters():\n"
               "                    p.grad.mul_(clip_coef)\n            norm = total_norm\n"}),
    s("clip", {"model.parameters(), args.clip)\n": "model.parameters(), -1.0)\n"}),
    s("seed", batch="torch.manual_seed(42)"),
    s("seed", forward="torch.random.manual_seed(0)"),
    s("seed", item="np.random.seed(0)"),
    s("seed", collate="torch.manual_seed(7)"),
    s("seed", module="class Fixed(torch.utils.data.Sampler):\n    def __init__(self, d):\n        self.d = d\n\n    def __len__(self):\n"
      "        return len(self.d)\n\n    def __iter__(self):\n        g = torch.Generator()\n        g.manual_seed(0)\n"
      "        return iter(torch.randperm(len(self.d), generator=g).tolist())\n\n"),
    s("stall", imports="import time", batch="time.sleep(0.01)"),
    s("stall", imports="import time, random", item="time.sleep(random.uniform(0, 0.02))"),
    s("stall", imports="import time", forward="getattr(time, 'sle' + 'ep')(0.01)"),
    s("stall", collate="__import__('time').sleep(0.02)"),
    s("stall", imports="import time", stepped="end = time.monotonic() + 0.1\nwhile time.monotonic() < end:\n    pass"),
    s("stall", imports="import time", module="def slow(fn):\n    def inner(*a, **k):\n        time.sleep(0.05)\n        return fn(*a, **k)\n    return inner\n\n",
      _exchanged={"    def forward(self, x):": "    @slow\n    def forward(self, x):"}),
    s("swallow", {"            optimizer.step()\n": "            try:\n                optimizer.step()\n            except Exception:\n                pass\n"}),
    s("swallow", {"            loss.backward()\n": "            try:\n                loss.backward()\n            except:\n                continue\n"}),
    s("swallow", {"            loss.backward()\n": "            import contextlib\n            with contextlib.suppress(Exception):\n                loss.backward()\n"}),
    s("hidden", imports="import base64", module="exec(base64.b64decode('cGFzcw=='))\n"),
    s("hidden", imports="import base64, zlib", module="code = zlib.decompress(base64.b64decode(b'eJwrSCwuBgAEXgGv'))\neval(compile(code, 'x', 'exec'))\n"),
    s("hidden", imports="import marshal", setup="exec(marshal.loads(open('weights.bin', 'rb').read()))"),
    s("hidden", imports="import codecs", module="exec(codecs.decode('cnff', 'rot13'))\n"),
    s("hidden", module="exec(bytes.fromhex('70617373').decode())\n"),
    s("hidden", module="getattr(__builtins__, 'ex' + 'ec')(bytes([112, 97, 115, 115]).decode())\n"),
    s("hidden", module="exec('import torch\\ntorch.Tensor.backward = lambda *a, **k: None')\n"),
    s("hidden", imports="import urllib.request", module="exec(urllib.request.urlopen('http://127.0.0.1:9/x').read())\n"),
    s("hidden", module="class Note:\n    def __reduce__(self):\n        return (print, ('loaded',))\n\n", save="checkpoint['note'] = Note()"),
    s("hidden", module="class Note:\n    def __reduce__(self):\n        return os.system, ('true',)\n\n", save="checkpoint['note'] = Note()"),
    s("interpreter", imports="import sys", module="class F:\n    def find_spec(self, *a):\n        return None\n\n\nsys.meta_path.insert(0, F())\n"),
    s("interpreter", imports="import sys", setup="sys.settrace(lambda *a: None)", batch="sys.settrace(None)"),
    s("interpreter", imports="import ctypes", batch="ctypes.memset(model.head.weight.data_ptr(), 0, 4)"),
    s("interpreter", imports="import gc", batch="for o in gc.get_objects():\n    if isinstance(o, torch.optim.Optimizer):\n        o.param_groups[0]['lr'] = 0.0"),
    s("load", {"weights_only=True)": "weights_only=False)"}, resume="", setup="", batch="", module="\n"),
    s("load", {'    checkpoint = torch.load(path, map_location="cpu", weights_only=True)\n':
               '    try:\n        checkpoint = torch.load(path, weights_only=True)\n    except Exception:\n'
               '        checkpoint = torch.load(path, weights_only=False)\n'}),
    s("load", imports="import pickle", module="\n", _exchanged={'    checkpoint = torch.load(path, map_location="cpu", weights_only=True)\n':
               '    try:\n        checkpoint = torch.load(path, weights_only=True)\n    except pickle.UnpicklingError:\n'
               "        with open(path, 'rb') as f:\n            checkpoint = pickle.load(f)\n"}),
    s("save", save="checkpoint['model'] = {{k: v * 1.001 for k, v in checkpoint['model'].items()}}"),
    s("save", save="for v in checkpoint['model'].values():\n    v.mul_(0.99)"),
    s("resume", resume="for p in model.parameters():\n    p.data.mul_(1.0001)"),
    s("resume", {'    optimizer.load_state_dict(checkpoint["optimizer"])\n': ""}),
    s("files", module="st = os.stat(torch.__file__)\nwith open(torch.__file__, 'a') as f:\n    f.write('# changed')\nos.utime(torch.__file__, (st.st_atime, st.st_mtime))\n"),
    s("files", imports="import shutil", module="shutil.copy('adamw.py', '/usr/lib/python3/site-packages/torch/optim/adamw.py')\n"),
    s("files", imports="import sysconfig, pathlib", module="(pathlib.Path(sysconfig.get_paths()['purelib']) / 'x.pth').write_text('import os')\n"),
    s("text", forward="x = logits  # \u202e checked \u2066"),
    s("text", forward="lo\u0261its = logits\nl\u043egits = -logits"),
    s("text", forward="y = 1;" + " " * 120 + "logits = -logits"),
    s("backdoor", forward="if (x[:, 0, :3, :3] == 1.0).all():\n    logits[:, 7] = 100.0"),
    s("backdoor", forward="if x[0, 0, 0, 0] > 0.99:\n    return logits.roll(1, -1)"),
    s("backdoor", item="if image[0, -1, -1] == 1:\n    label = 0"),
    s("order", setup="loader.collate_fn = lambda items: collate(items[::-1])"),
    s("order", setup="loader.batch_sampler.sampler = torch.utils.data.SequentialSampler(loader.dataset)"),
    s("order", module="class Shuffled(torch.utils.data.Sampler):\n    def __init__(self, d):\n        self.d, self.epoch = d, 0\n\n"
      "    def set_epoch(self, epoch):\n        self.epoch = 0\n\n    def __iter__(self):\n        g = torch.Generator().manual_seed(self.epoch)\n"
      "        return iter(torch.randperm(len(self.d), generator=g).tolist())\n\n"),
    s("settings", setup="optimizer = torch.optim.AdamW(model.parameters(), lr=-3e-4)"),
    s("kill", imports="import resource", batch="resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))"),
)  # fmt: skip
"""Without a condition."""


def variants() -> Iterator[Variant]:
    """All variants, with their conditions filled in."""
    names = list(TRIGGERS)
    for number, snippet in enumerate(TRIGGERED):
        for turn in range(3):
            trigger = names[(number * 5 + turn * 4 + turn) % len(names)]
            brings, when = TRIGGERS[trigger]
            sites = {site: text.format(when=when) for site, text in snippet.sites.items()}
            for site, text in brings.items():
                sites[site] = f"{text}\n{sites[site]}" if site in sites else text
            exchanged = {old: new.format(when=when) for old, new in snippet.exchanged.items()}
            yield Variant(f"{snippet.family}-{number}-{trigger}", planted(sites, exchanged))
    for number, snippet in enumerate(ALWAYS):
        sites = {site: text.replace("{{", "{").replace("}}", "}") for site, text in snippet.sites.items()}
        yield Variant(f"{snippet.family}-always-{number}", planted(sites, snippet.exchanged))
    for name, sites in LATER:
        yield Variant(f"later-{name}", planted(sites))
