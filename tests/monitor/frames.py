"""Records as a guard would write them, for tests of what reads them: one valid body per kind, and blocks."""

from __future__ import annotations

import struct

from veracity.core import wire
from veracity.core.sample import pick

TRIAL = {
    "tensor": 0,
    "direction": "gradient",
    "reach": 0.001,
    "plus": 0.001,
    "minus": -0.001,
    "half": 0.0005,
    "inner_plus": 0.001,
    "inner_minus": -0.001,
    "norm": 1.0,
}
TENSOR = {"key": "model.w", "sha256": "0" * 64, "dtype": "float32", "shape": [2, 3]}
DECLARED = {"name": "w", "shape": [2, 3], "dtype": "float32", "numel": 6, "group": 0}
SCHEDULER: dict[str, object] = {
    "index": 0,
    "optimizer": 0,
    "class_name": "torch.optim.lr_scheduler.StepLR",
    "parameters": {"step_size": 3, "gamma": 0.5},
    "base_lrs": [0.1],
    "lrs": [0.1],
    "last_epoch": 0,
    "children": [],
    "unreadable": "",
}
LOADER: dict[str, object] = {
    "index": 0,
    "dataset_class": "data.Texts",
    "dataset_length": 100,
    "batch_size": 4,
    "drop_last": False,
    "sampler_class": "RandomSampler",
    "batch_sampler_class": "BatchSampler",
    "num_workers": 2,
    "persistent_workers": False,
    "iterable": False,
}

BODIES: dict[str, dict[str, object]] = {
    "hello": {
        "ppid": 1,
        "role": "rank",
        "executable": "/usr/bin/python",
        "python": "3.11.7",
        "torch": "2.6.0",
        "optimize": 0,
        "ids": {"RANK": "0", "WORLD_SIZE": "1"},
        "numerics": {"threads": "1"},
    },
    "loading": {
        "way": "torch.load",
        "path": "/out/a.pt",
        "step": 4,
        "identity": "1:2:3:4:5",
        "offset": 0,
        "asks": False,
    },
    "unpickled": {
        "way": "torch.load",
        "path": "/out/a.pt",
        "step": 4,
        "caller": "/project/train.py",
        "line": 12,
        "weights_only": "false",
        "failed": "",
        "begun": False,
        "fell_back": False,
        "owner": 1000,
        "mode": 0o644,
        "user": 1000,
        "globals": [{"module": "argparse", "name": "Namespace", "kind": "class", "real": ""}],
        "more": 0,
        "repeated": 0,
    },
    "began": {
        "modules": [{"name": "matplotlib", "path": "/site/matplotlib/__init__.py"}],
        "more": 0,
        "warn_options": ["ignore::DeprecationWarning"],
    },
    "bye": {"records": 10, "dropped": 0, "steps": 5},
    "gap": {
        "what": "a tensor was not read",
        "reason": "sparse",
        "remedy": "",
        "law": "update",
        "stops": False,
    },
    "optimizer": {
        "optimizer": {
            "index": 0,
            "class_name": "torch.optim.adamw.AdamW",
            "path": "/site-packages/torch/optim/adamw.py",
            "line": 210,
            "groups": [{"lr": 0.001, "betas": [0.9, 0.999], "amsgrad": False, "foreach": None}],
            "tensors": [DECLARED],
        }
    },
    "scheduler": {"scheduler": {**SCHEDULER, "children": [SCHEDULER]}, "reloaded": False},
    "scheduled": {"scheduler": 0, "last_epoch": 1, "explicit": False, "before_step": 1, "lrs": [0.1]},
    "schedules": {
        "calls": [{"scheduler": 0, "last_epoch": 2, "explicit": False, "before_step": 2, "lrs": [0.1]}],
    },
    "step": {
        "optimizer": 0,
        "step": 4,
        "groups": [{"lr": 0.001}],
        "phases": {"data": 1, "forward": 2, "backward": 3, "optimizer": 4, "other": 5},
        "loss": 1.25,
        "losses": 1,
        "rng": {"cpu": "00ff"},
        "fingerprint_before": [],
        "fingerprint_after": [[0, 17]],
        "total_norm": None,
        "max_norm": None,
        "scaled": False,
        "closure": False,
        "layout": [[0, 0, 2, None, 1.0, 0, 1]],
        "typecode": "f",
        "fields": [["param", "grad"], ["param"]],
    },
    "moved": {
        "optimizer": 0,
        "after_step": 3,
        "tensors": [0],
        "compared": 16,
        "step_replaced": "",
        "path": "",
        "line": 0,
    },
    "rested": {
        "optimizer": 0,
        "first": 300,
        "count": 17,
        "took": 900_000_000,
        "each": [52_941] * 17,
        "since": 0,
    },
    "hook": {
        "hook": "tensor",
        "name": "<lambda>",
        "path": "train.py",
        "line": 7,
        "step": 12,
        "steps": 12,
        "relation": "scaled",
        "ratio": 0.5,
        "norm": 2.0,
        "share": 1.0,
    },
    "root": {"root": 0, "nodes": ["MulBackward0"], "base": "MseLossBackward0", "path": "train.py", "line": 7},
    "hooked": {
        "optimizer": 0,
        "stepping": 0,
        "step": 12,
        "before": False,
        "since": 0,
        "hooks": ["after"],
        "paths": ["train.py"],
        "lines": [7],
        "tensors": [0],
        "fields": ["param"],
        "changed": 3,
        "compared": 16,
        "former": [1.0],
        "later": [0.5],
    },
    "dataset": {
        "loader": 0,
        "iteration": 0,
        "deliveries": 12,
        "changed": ["tensors[0]"],
        "held": 2,
        "at_begin": False,
        "before_step": 12,
    },
    "loss": {
        "loss": 0,
        "name": "cross_entropy",
        "step": 3,
        "strict": False,
        "cost": 5000,
        "input": 1,
        "input_name": "input 0",
        "numel": 12,
        "inputs": 2,
        "trials": [TRIAL],
        "rounding": 1e-7,
        "held": [TRIAL],
    },
    "gradient": {
        "optimizer": 0,
        "step": 3,
        "tensors": 1,
        "clip": 1.0,
        "cost": 5000,
        "trials": [TRIAL],
        "calls": 1,
        "rounding": 1e-7,
        "fresh": True,
    },
    "loader": {"loader": LOADER, "iteration": 0, "sampler": 0},
    "sampler": {
        "sampler": 0,
        "sampler_class": "RandomSampler",
        "length": 100,
        "own_generator": False,
        "generator_state": "00" * 5056,
        "parameters": {"replacement": False},
        "exact_class": True,
    },
    "batches": {
        "loader": 0,
        "iteration": 0,
        "first": 0,
        "indices": [[1, 2], [3, 4]],
        "delivered": 2,
        "digests": ["00ff"],
        "ended": False,
    },
    "saved": {"path": "/tmp/a.pt", "step": 3, "tensors": [TENSOR], "truncated": False, "inode": 5},
    "loaded": {"path": "/tmp/a.pt", "step": 3, "tensors": [TENSOR], "truncated": False},
    "restored": {
        "optimizer": 0,
        "step": 0,
        "loaded_module": True,
        "loaded_optimizer": True,
        "tensors": [TENSOR],
        "state": [TENSOR],
    },
    "module": {
        "module": "torch.optim.adamw",
        "path": "/site-packages/torch/optim/adamw.py",
        "cached": "/site-packages/torch/optim/__pycache__/adamw.cpython-311.pyc",
        "loader": "SourceFileLoader",
        "captured": "source",
        "sha256": "0" * 64,
        "reason": "",
    },
    "functions": {
        "step": 3,
        "functions": [{"name": "AdamW.step", "code": "00", "path": "/a.py", "line": 3, "wrapped": ""}],
    },
    "channel": {
        "kind": "spawn",
        "target": "git",
        "step": 3,
        "inside": "",
        "importing": False,
        "main": True,
        "times": 1,
        "frames": [{"path": "/a.py", "line": 3, "function": "main"}],
    },
    "metrics": {"path": "/out/metrics.jsonl"},
}

BLOBS = {"step": struct.pack("<6f", *range(6))}


def frame_of(kind: str, seq: int = 0, body: dict[str, object] | None = None) -> bytes:
    """A frame of ``kind`` with its valid body, or with another one."""
    return wire.pack(kind, seq, 1000 + seq, BODIES[kind] if body is None else body, BLOBS.get(kind, b""))


def large_step(step: int, tensors: int = 54, seq: int = 0) -> bytes:
    """The record of an AdamW step of a small GPT: repeated and fresh samples, all fields on both sides."""
    numels = [384 * 384] * tensors
    layout: list[list[object]] = []
    blob = b""
    fields = [["param", "grad", "exp_avg", "exp_avg_sq"], ["param", "exp_avg", "exp_avg_sq"]]
    for repeated, at in ((1, max(0, step - 1)), (0, step)):
        for tensor, indices in pick(bytes(32), at, numels):
            count = len(indices)
            layout.append([tensor, repeated, count, float(step), float(step + 1), 0, 1])
            blob += struct.pack(f"<{7 * count}f", *(0.001 * number for number in range(7 * count)))
    body = {
        **BODIES["step"],
        "step": step,
        "groups": [
            {"lr": 0.0003, "betas": [0.9, 0.95], "eps": 1e-8, "weight_decay": decay, "amsgrad": False,
             "maximize": False, "foreach": None, "capturable": False, "differentiable": False, "fused": None}
            for decay in (0.1, 0.0)
        ],
        "phases": dict.fromkeys(("data", "forward", "backward", "optimizer", "other"), 12_345_678_901),
        "loss": 4.123456789012345,
        "total_norm": 1.2345678901234567,
        "max_norm": 1.0,
        "rng": dict.fromkeys(("cpu", "python", "numpy"), "0123456789abcdef" * 2),
        "fingerprint_before": [[tensor, 2**61 - 2] for tensor in range(6)],
        "fingerprint_after": [[tensor, 2**61 - 2] for tensor in range(6)],
        "layout": layout,
        "fields": fields,
    }  # fmt: skip
    return wire.pack("step", seq, 1_750_000_000_000_000_000, body, blob)
