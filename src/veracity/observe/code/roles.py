"""What a function is in training, from its name, its class and how it is used."""

from __future__ import annotations

import ast
import re

from .scopes import Scope

_NAMES = (
    (re.compile(r"_?(?:single|multi)_tensor_\w+|_?fused_\w*(?:adam|sgd|lamb)\w*|_?update_params?"
                r"|_functional_\w+"), "update"),
    (re.compile(r"_?training_step\w*|_?train_(?:step|batch|one_\w+|iter\w*|epoch)|optimizer_step|_?inner_training_loop"
                r"|_?step_fn|_?compute_loss|do_step|run_step"), "step"),
    (re.compile(r"on_train_batch_\w+|on_before_\w+|on_after_backward|on_step_\w+|on_substep_end|on_backward_\w+"
                r"|on_pre_optimizer_step|on_optimizer_step|before_step|after_step|on_train_step_\w+"),
                "hook"),
    (re.compile(r"\w*collate\w*|worker_init_\w+|seed_worker"), "collate"),
    (re.compile(r"_?clip_?|_?clip_\w+|\w*_clip_grad\w*|\w*grad\w*_clip\w*|\w*clip_grad\w*|\w*clip_coef\w*"),
     "clip"),
    (re.compile(r"__init__|_?reset_\w*param\w*|_?init_\w*weights?\w*|_?initiali[sz]e\w*|_?init_\w+|post_init"
                r"|reset_\w+|_?\w*_init\w*_?"), "init"),
    (re.compile(r"_?save\w*|_?write\w*|_?dump\w*|_?export\w*"), "save"),
    (re.compile(r"_?load\w*|_?restore\w*|_?resume\w*|_?convert\w*|_?from_\w+"), "load"),
    (re.compile(r"test_\w+"), "test"),
    (re.compile(r"\w*loss\w*|\w*criterion\w*|\w*objective\w*"), "loss"),
    (re.compile(r"evaluate\w*|validat\w+|eval_\w+|\w*_?eval|compute_metrics?|accuracy\w*|\w*_metrics?|\w*_score"),
     "metric"),
    (re.compile(r"_?log\w*|on_log\w*|report\w*|track\w*"), "log"),
)  # fmt: skip
_CLASSES = (
    (re.compile(r"Sampler|Loader"), {"__iter__": "order", "set_epoch": "order", "__next__": "order",
    "__getitem__": "order"}),
    (re.compile(r"Dataset|DataPipe|Iterable|Transform|Jitter|Augment|Erasing|Normali[sz]e"),
     {"__getitem__": "item", "__iter__": "item", "__next__": "item", "__call__": "item",
     "__getitems__": "item"}),
    (re.compile(r"Collat"), {"__call__": "collate"}),
    (re.compile(r"Optim|Adam|SGD|Lamb|Lion|RMSprop"), {"step": "update", "update": "update"}),
    (re.compile(r"LRScheduler|Scheduler|LambdaLR|CosineAnnealing"),
     {"get_lr": "schedule", "step": "schedule", "_get_closed_form_lr": "schedule"}),
    (re.compile(r"Function"), {"backward": "backward"}),
    (re.compile(r"Scaler"), {"step": "scaler", "unscale_": "scaler", "update": "scaler"}),
)  # fmt: skip
_LOSSES = re.compile(r"Loss|Criterion|Objective")
_KEEPS = re.compile(
    r"EMA|Averag|Stop|Keeper|Meter|Monitor|Logger|Writer|Tracker|Callback|Warmup|Checkpoint|Refresh"
)
"""Classes that keep something beside training, where nothing is drawn by chance."""
_ANY_CLASS = {"forward": "forward", "backward": "backward", "collate_fn": "collate"}


def roles_of(name: str, scope: Scope | None, node: ast.AST) -> set[str]:
    """Roles of a function ``name`` that is defined directly in ``scope``."""
    found = {role for pattern, role in _NAMES if pattern.fullmatch(name)}
    if scope is None or scope.kind != "class":
        return found
    known = f"{scope.name} {scope.bases}"
    for pattern, methods in _CLASSES:
        role = methods.get(name)
        if role is not None and pattern.search(known):
            found.add(role)
    if name in _ANY_CLASS:
        found.add(_ANY_CLASS[name])
    if name in ("forward", "__call__") and _LOSSES.search(known):
        found.add("loss")
    if "init" not in found and _KEEPS.search(known):
        found.add("keeping")
    if name in ("state_dict", "__getstate__", "_save_to_state_dict"):
        found.add("save")
    elif name in ("__setstate__", "_load_from_state_dict"):
        found.add("load")
    elif name in ("__torch_function__", "__torch_dispatch__"):
        found |= {"hook", "forward", "mode"}
    if name == "__getitem__" and not found & {"item", "order"} and _has_length(scope):
        found.add("item")
    return found


def _has_length(scope: Scope) -> bool:
    body = getattr(scope.node, "body", [])
    return not scope.bases and any(isinstance(one, ast.FunctionDef) and one.name == "__len__" for one in body)
